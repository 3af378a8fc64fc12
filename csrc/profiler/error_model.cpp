#include "profiler/error_model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/refusal.h"

namespace eden::profiler {

ErrorModel::ErrorModel(Json form) : form_(std::move(form)) {
  if (!form_.is_object()) refuse_value("its error model", shown(form_), "an object");
  const Json model = form_.value("model", Json());
  failure_ = form_.contains("failure") ? number("failure") : 1.0;
  if (!(failure_ > 0.0)) refuse_value("failure", failure_, "above 0, up to 1");
  if (model == "uniform") {
    rates_.assign(2, number("ber"));
  } else if (model == "data_dependent") {
    rates_ = {number("ber_zero"), number("ber_one")};
  } else if ((model == "bitline" || model == "wordline") && form_.contains("rates")) {
    kind_ = model == "bitline" ? ModelKind::kBitline : ModelKind::kWordline;
    const Json& rates = form_["rates"];
    if (!rates.is_array() || rates.empty()) {
      refuse_value("rates", shown(rates), "a list of one line or more");
    }
    for (const Json& rate : rates) {
      if (!rate.is_number()) refuse_value("a rate of its lines", shown(rate), "a number");
      rates_.push_back(rate.get<double>());
    }
    const Json geometry = form_.value("geometry", Json::object());
    for (const auto& [field, value] :
         {std::pair{"row_bits", &row_bits_}, std::pair{"subarray_rows", &subarray_rows_}}) {
      const Json found = geometry.is_object() ? geometry.value(field, Json()) : Json();
      if (!found.is_number_integer()) {
        refuse_value(text_of("geometry.", field), shown(found), "a whole number");
      }
      *value = found;
    }
  } else {
    refuse_value("its error model", shown(model),
                 "uniform, data_dependent, or bitline or wordline with measured rates");
  }
  for (const double rate : rates_) {
    if (!(rate >= 0.0 && rate <= failure_)) {
      refuse_value("a rate of its error model", rate, "0 to failure (", failure_, ")");
    }
  }
  if (kind_ != ModelKind::kCell) lines_.emplace(std::move(rates_), failure_);
}

double ErrorModel::number(const char* name) const {
  const Json value = form_.value(name, Json());
  if (!value.is_number() || !(value.get<double>() >= 0.0 && value.get<double>() <= 1.0)) {
    refuse_value(name, shown(value), "a number from 0 to 1");
  }
  return value;
}

double ErrorModel::highest_ber() const { return lines_ ? lines_->highest_ber() : failure_; }

std::vector<double> ErrorModel::rates_at(double ber) const {
  if (lines_) return lines_->at(ber);
  // Scaling could leave a uniform rate by its last bit.
  if (form_["model"] == "uniform") return {ber, ber};
  const StoredRates rates = scale_stored_rates({rates_[0], rates_[1]}, failure_, ber);
  return {rates.zero, rates.one};
}

Json ErrorModel::form_at(double ber) const {
  Json form = form_;
  const std::vector<double> rates = rates_at(ber);
  if (lines_) {
    form["rates"] = rates;
  } else if (form["model"] == "uniform") {
    form["ber"] = ber;
  } else {
    form["ber_zero"] = rates[0];
    form["ber_one"] = rates[1];
  }
  return form;
}

int64_t ErrorModel::table_length() const {
  return lines_ ? 2 * static_cast<int64_t>(lines_->measured().size()) : 0;
}

void ErrorModel::write(double ber, uint64_t address, Correction correction, int64_t table_first,
                       int64_t* row, int64_t* table) const {
  std::vector<double> rates = rates_at(ber);
  if (!lines_) {
    std::ranges::copy(make_region(rates[0], rates[1], failure_, address, correction), row);
    return;
  }
  std::ranges::copy(
      make_lines_region(kind_, TableKind::kMeasured, failure_, address, correction, table_first,
                        static_cast<int64_t>(rates.size()), row_bits_, subarray_rows_),
      row);
  for (double& rate : rates) rate = std::min(rate / failure_, 1.0);
  std::ranges::copy(make_line_table(rates.data(), rates.size()), table + table_first);
}

}  // namespace eden::profiler
