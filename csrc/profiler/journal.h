// The journal of a search: every report and every budget, written as soon as it is made, so that a
// run goes on where a kill ended it; what the machine itself loses in a crash is made again. The
// form is that of eden/common/journal.py, and either driver goes on with what the other wrote.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "profiler/json.h"
#include "tolerance/search.h"

namespace eden::profiler {

class Journal {
 public:
  struct Budget {
    int64_t trial = 0;  // before whose report it was given
    int64_t observations = 0;
  };

  // Opens or makes the file and keeps other processes out. Throws FileError if it cannot be used,
  // is damaged elsewhere than at its end, or is of another run; the message names the line or the
  // field that differs.
  Journal(std::string path, const Json& fingerprint);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // What the file held when it was opened.
  const std::vector<Report>& history() const { return history_; }
  const std::vector<Budget>& budgets() const { return budgets_; }

  void append(const Report& report);
  void append(const Budget& budget);

 private:
  void open(const Json& fingerprint);
  void check_version(const Json& found) const;
  void compare(const Json& found, const Json& wanted) const;
  void read(const Json& entry, size_t line);
  void cut(size_t length) const;
  void write(const std::string& line) const;

  std::string path_;
  int file_ = -1;
  uint32_t checksum_ = 0;  // of the last line
  std::vector<Report> history_;
  std::vector<Budget> budgets_;
};

}  // namespace eden::profiler
