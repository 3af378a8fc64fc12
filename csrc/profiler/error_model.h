// An operand's error model in a package, in the JSON form of eden/errors.py, brought to the rates
// that a search asks for.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/region.h"
#include "profiler/json_text.h"

namespace eden::profiler {

class ErrorModel {
 public:
  // Throws std::invalid_argument naming the model or the parameter that is not allowed: those whose
  // rates can be changed here are uniform, data_dependent, and bitline and wordline with measured
  // rates.
  explicit ErrorModel(Json form);

  // The highest mean bit error rate that it can be brought to.
  double highest_ber() const;

  // The same model at another mean bit error rate.
  ErrorModel scaled(double ber) const;

  const Json& form() const { return form_; }

  // Whether its region refers to a table of lines.
  bool of_lines() const { return kind_ != ModelKind::kCell; }

  // Where an operand of this model lies and how its cells fail; table_first counts only for lines.
  std::array<int64_t, kRegionFields> region(uint64_t address, Correction correction,
                                            int64_t table_first) const;

  // The entries of its lines; empty where it has none.
  std::vector<int64_t> table() const;

 private:
  double number(const char* name) const;

  Json form_;
  ModelKind kind_ = ModelKind::kCell;
  bool uniform_ = false;
  double failure_ = 1.0;
  std::vector<double> rates_;  // of lines; of cells that store 0 and 1 otherwise
};

}  // namespace eden::profiler
