// What ends a run from outside: an interruption from the terminal, and an observation that hangs.
#pragma once

#include <exception>
#include <optional>
#include <string>

namespace eden::profiler {

class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

// From now on the first SIGINT is only noted; a second one ends the process at once.
void note_interruptions();

// Throws Interrupted if there was one.
void check_interruption();

// While it lives, the process may go on for so many seconds (for ever if there are none); then it
// prints a line and ends with status 1, since nothing else can end a call that hangs. There is one
// at a time.
class Deadline {
 public:
  Deadline(std::optional<double> seconds, const std::string& line);
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline();
};

}  // namespace eden::profiler
