// Maximum-likelihood fits of Models 0 to 3 to the counts of one operating point.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/fit.h"
#include "devices/fit_cells.h"
#include "devices/fit_lines.h"

namespace eden {

// What was counted while the cells stored one value (or a mixture that is not told apart). An axis
// that was not counted is empty.
struct ValueCounts {
  Reads reads;
  double cells;
  std::vector<LineCount> bitlines;
  std::vector<LineCount> wordlines;
};

// What the probability of being weak varies over.
enum class Along : int64_t { kNothing = 0, kBitlines = 1, kWordlines = 2 };

// Models 0, 1 and 2 by what P varies along; Model 3 with a rate for each stored value. Lines with a
// rate for each value are no model of the operators, but tell whether one is missing.
struct FitModel {
  Along along;
  bool by_value;
};

enum class Bound : int64_t { kNone = 0, kLow = 1, kHigh = 2 };

struct ParameterFit {
  double estimate = 0.0;
  double low = 0.0;
  double high = 1.0;
  // Standard error of the log-odds from the observed information; 0 at a bound and where the
  // parameter was not fitted.
  double deviation = 0.0;
  // Whether the counts tell it: where not, the estimate is what was assumed, or what follows from
  // it.
  bool identified = false;
  Bound bound = Bound::kNone;
};

struct ModelFit {
  std::vector<ParameterFit> weak;  // P, or its mean over lines; one for each rate
  std::vector<ParameterFit> ber;   // P F
  ParameterFit failure;            // F
  ParameterFit dispersion;         // rho; Along::kNothing: 0, not identified
  double log_likelihood;
  int64_t parameters;  // that were fitted
  int64_t observations;
};

// Fits one model. F is fitted where it is not given and some cells were read more than once;
// without either, F = 1 is assumed. Without `intervals`, estimates and log-likelihood alone, in a
// tenth of the time. Throws std::invalid_argument where a value has no counts along the lines
// asked for, or counts that contradict each other.
ModelFit fit_model(const std::vector<ValueCounts>& values, FitModel model,
                   std::optional<double> failure, const IntervalRule& rule, bool intervals);

// One class of a goodness-of-fit test.
struct GoodnessBin {
  size_t value;  // which stored value
  double cells;  // cells of the lines, or reads of a cell
  double low;    // least and largest count of the class
  double high;
  double observed;
  double expected;
};

struct Goodness {
  std::vector<GoodnessBin> bins;  // none where there is too little to test
  double statistic = 0.0;         // Pearson's
  double p_value = 1.0;           // share of simulated campaigns whose statistic is as large
  int64_t replicates = 0;
};

// Do lines counted along `tested` follow a fitted model? Pearson's statistic over classes of counts
// with its distribution from a parametric bootstrap: campaigns drawn from the fit, each fitted
// again (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.4).
Goodness lines_goodness(const std::vector<ValueCounts>& values, FitModel model, Along tested,
                        const ModelFit& fit, int64_t replicates, uint64_t seed);

// Do the failures of seen cells follow one F? histograms[v][k - 1] holds the cells of value v that
// failed in k of its reads.
Goodness reads_goodness(const std::vector<std::vector<double>>& histograms, double failure,
                        bool fitted, int64_t replicates, uint64_t seed);

}  // namespace eden
