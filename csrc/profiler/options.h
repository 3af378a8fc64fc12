// The command line of eden-profile, whose options are those of `eden profile --package`.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "tolerance/search.h"

namespace eden::profiler {

struct Options {
  std::string package;
  std::string data;
  std::string out;
  std::string journal;  // empty: beside `out`, until the search ends
  std::string metric = "top1";
  std::string strategy = "shares";
  std::string population;  // empty: of the data where there are enough samples
  std::string weigh = "bytes";
  std::string cuda_operators;  // empty: where they are usually
  int64_t samples = 64;        // of one observation
  int64_t seed = 0;
  int64_t attempt = 1;
  double max_drop = 0.01;
  double confidence = 0.95;
  std::optional<double> quantile;
  double effort = SearchSettings{}.effort;
  int64_t max_trials = 0;
  int64_t budget = 0;
  std::optional<double> budget_seconds;
  std::optional<double> timeout;  // of one observation, in seconds
  int threads = 0;
  bool coarse_only = false;

  std::string journal_path() const { return journal.empty() ? out + ".journal" : journal; }
  bool budgeted() const { return budget > 0 || budget_seconds.has_value(); }
};

// Wrong usage: the message names the option, what was found and what is allowed.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// None where only help or the version was asked for, which is then printed. Throws UsageError.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace eden::profiler
