#include "profiler/progress.h"

#include <unistd.h>

#include <cstdio>

namespace eden::profiler {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenChanges{100};
constexpr std::chrono::seconds kBetweenLines{5};

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0), next_(steady_clock::now()) {}

Progress::~Progress() {
  if (!last_.empty()) std::fputs(last_.c_str(), stderr);
  if (terminal_ && shown_) std::fputs("\n", stderr);
}

void Progress::tell(int64_t done, int64_t expected, const std::string& text) {
  const std::string line =
      "profile " + std::to_string(done) + "/" + std::to_string(expected) + " " + text;
  // Escape sequence: to the end of the line, what was there is erased.
  last_ = terminal_ ? "\r" + line + "\x1b[K" : line + "\n";
  if (steady_clock::now() < next_) return;
  std::fputs(last_.c_str(), stderr);
  last_.clear();
  shown_ = true;
  next_ =
      steady_clock::now() + (terminal_ ? kBetweenChanges : steady_clock::duration(kBetweenLines));
}

}  // namespace eden::profiler
