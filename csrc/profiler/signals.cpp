#include "profiler/signals.h"

#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>

namespace eden::profiler {
namespace {

volatile std::sig_atomic_t interrupted = 0;
std::string last_words;

void handle(int signal, int flags, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

void set_timer(double seconds) {
  const double micros = std::ceil(std::min(seconds, 1e9) * 1e6);
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(micros / 1e6);
  timer.it_value.tv_usec = static_cast<suseconds_t>(std::fmod(micros, 1e6));
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

void note_interruptions() {
  handle(SIGINT, SA_RESTART | SA_RESETHAND, [](int) { interrupted = 1; });
}

void check_interruption() {
  if (interrupted != 0) throw Interrupted();
}

Deadline::Deadline(std::optional<double> seconds, const std::string& line) {
  if (!seconds) return;
  last_words = line + "\n";
  handle(SIGALRM, 0, [](int) {
    [[maybe_unused]] const auto said = write(STDERR_FILENO, last_words.data(), last_words.size());
    _exit(1);
  });
  set_timer(*seconds);
}

Deadline::~Deadline() { set_timer(0.0); }

}  // namespace eden::profiler
