// The journal of a search: every report on disk as soon as it is made, so that a killed run goes on
// where it was. The form is that of eden/journal.py, and either driver goes on with what the other
// wrote: JSON lines, the first a fingerprint of the run, every one with a CRC-32 of itself; only
// ever appended, so that a kill tears none but the last.
#pragma once

#include <string>
#include <vector>

#include "core/search.h"
#include "profiler/json_text.h"

namespace eden::profiler {

class Journal {
 public:
  // Opens or makes the file and keeps other processes out. Throws FileError if it cannot be used,
  // is damaged elsewhere than at its end, or is of another run; the message names the line or the
  // field that differs.
  Journal(std::string path, const Json& fingerprint);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // The reports that the file held when it was opened.
  const std::vector<Report>& history() const { return history_; }

  void append(const Report& report);

 private:
  void open(const Json& fingerprint);
  void compare(const Json& found, const Json& wanted) const;
  void write(const std::string& line) const;

  std::string path_;
  int file_ = -1;
  std::vector<Report> history_;
};

}  // namespace eden::profiler
