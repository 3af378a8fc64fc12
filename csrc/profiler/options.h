// The command line of eden-profile, whose options are those of `eden profile --package`.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/search.h"

namespace eden::profiler {

struct Options {
  std::string package;
  std::string data;
  std::string out;
  std::optional<std::string> journal;
  std::string metric = "top1";
  std::string weigh = "bytes";
  int64_t samples = 64;  // of one observation
  int64_t seed = 0;
  std::optional<int> threads;
  double max_drop = 0.01;
  double confidence = 0.95;
  std::optional<double> quantile;
  double effort = SearchSettings{}.effort;
  int64_t max_trials = 0;
  bool coarse_only = false;
  SearchStrategy strategy = SearchStrategy::kShares;
};

// Wrong usage: the message says what of it.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

extern const char kUsage[];

// None where only help or the version was asked for, which is then printed. Throws UsageError.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace eden::profiler
