// An operand's error model in a package, in the JSON form of eden/memory/errors.py, brought to the
// rates that a search asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "memory/region.h"
#include "memory/scaling.h"
#include "profiler/json.h"

namespace eden::profiler {

class ErrorModel {
 public:
  // Throws std::invalid_argument naming the model or the parameter that is not allowed: those whose
  // rates can be changed here are uniform, data_dependent, and bitline and wordline with measured
  // rates.
  explicit ErrorModel(Json form);

  // The highest mean bit error rate that it can be brought to.
  double highest_ber() const;

  // Its JSON form at another mean bit error rate.
  Json form_at(double ber) const;

  // Elements that its lines take in the table of the operators; 0 where it has none.
  int64_t table_length() const;

  // Writes where an operand lies and how its cells fail at a mean bit error rate: a row of
  // kRegionFields, and the lines' elements of the table, from table_first on.
  void write(double ber, uint64_t address, Correction correction, int64_t table_first, int64_t* row,
             int64_t* table) const;

 private:
  double number(const char* name) const;
  std::vector<double> rates_at(double ber) const;

  Json form_;
  ModelKind kind_ = ModelKind::kCell;
  double failure_ = 1.0;
  std::vector<double> rates_;       // of cells that store 0 and 1
  std::optional<LineRates> lines_;  // instead of them
  int64_t row_bits_ = 0, subarray_rows_ = 0;
};

}  // namespace eden::profiler
