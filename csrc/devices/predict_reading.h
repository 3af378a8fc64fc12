// Where a further reading of a condition lies.
#pragma once

#include <optional>
#include <vector>

#include "devices/curve_fit.h"

namespace eden {

// Where a further reading of `cells` cells lies, as numbers of errors: the profile predictive
// likelihood (Bjornstad, "Predictive likelihood: a review", Stat. Sci. 5, 1990) of its log-odds has
// fallen by `drop` at the ends. The dispersion is profiled out unless given. With `repeats` above 1
// the reading is the sum of as many, of `cells` cells together.
CurveEnds predict_reading(const std::vector<Count>& readings, double cells, int repeats,
                          std::optional<double> dispersion, double drop);

}  // namespace eden
