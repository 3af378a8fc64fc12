// A curve: the bit error rate as a function of a latency or a supply voltage.
//
// Cells differ in the latency that they need. If the need is distributed as G((need - location) /
// scale) over a share `asymptote` of the cells, the rate of errors at the operating point `at` is
//
//     rate(at) = asymptote * G((location - at) / scale),
//
// which falls as `at` grows, whatever the parameters (probit analysis: Finney, Probit Analysis,
// 1947; the asymptote is the natural response of Abbott's formula seen from the other side).
#pragma once

namespace eden {

enum class CurveLink { kProbit, kLogit };

struct CurveParameters {
  double location;   // where half of the asymptote is reached, in the unit of `at`
  double scale;      // of the spread of cells, in the unit of `at`
  double asymptote;  // 0 to 1
};

// Logarithm of the odds of the rate at an operating point.
double curve_log_odds(CurveLink link, const CurveParameters& parameters, double at);

// An asymptote of this log-odds is 1, one of its negative is 0.
inline constexpr double kWholeAsymptote = 36.0;

// The parameters as they are searched for.
struct CurveCoordinates {
  double location;
  double log_scale;
  double asymptote;  // log-odds

  static CurveCoordinates of(const CurveParameters& parameters);
  CurveParameters parameters() const;
  double log_odds(CurveLink link, double at) const;
};

// The argument of G at which a curve of an asymptote (its log-odds) has these log-odds.
double curve_argument(CurveLink link, double log_odds, double asymptote);

}  // namespace eden
