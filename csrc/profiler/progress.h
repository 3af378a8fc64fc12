// Progress of a search on standard error: one line that changes on a terminal, now and then a line
// of its own elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace eden::profiler {

class Progress {
 public:
  Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  // Tells how many observations were made of how many that are expected, and of what the next is.
  void tell(int64_t done, int64_t expected, const std::string& text);

 private:
  bool terminal_;
  bool shown_ = false;
  std::string last_;  // not shown yet
  std::chrono::steady_clock::time_point next_;
};

}  // namespace eden::profiler
