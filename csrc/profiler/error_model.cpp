#include "profiler/error_model.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/scaling.h"

namespace eden::profiler {
namespace {

[[noreturn]] void refuse(const std::string& what, const Json& found, const std::string& allowed) {
  throw std::invalid_argument(what + " is " + json_text(found).substr(0, 80) + "; allowed is " +
                              allowed);
}

}  // namespace

ErrorModel::ErrorModel(Json form) : form_(std::move(form)) {
  if (!form_.is_object()) refuse("its error model", form_, "an object");
  const Json model = form_.value("model", Json());
  failure_ = form_.contains("failure") ? number("failure") : 1.0;
  if (!(failure_ > 0.0)) refuse("failure", form_["failure"], "above 0, up to 1");
  if (model == "uniform") {
    uniform_ = true;
    rates_ = {number("ber"), number("ber")};
  } else if (model == "data_dependent") {
    rates_ = {number("ber_zero"), number("ber_one")};
  } else if ((model == "bitline" || model == "wordline") && form_.contains("rates")) {
    kind_ = model == "bitline" ? ModelKind::kBitline : ModelKind::kWordline;
    const Json& rates = form_["rates"];
    if (!rates.is_array() || rates.empty()) refuse("rates", rates, "a list of one line or more");
    for (const Json& rate : rates) {
      if (!rate.is_number()) refuse("a rate of its lines", rate, "a number");
      rates_.push_back(rate.get<double>());
    }
    const Json geometry = form_.value("geometry", Json());
    for (const char* field : {"row_bits", "subarray_rows"}) {
      if (!geometry.is_object() || !geometry.value(field, Json()).is_number_integer()) {
        refuse(std::string("geometry.") + field, geometry, "a whole number");
      }
    }
  } else {
    refuse("its error model", model,
           "uniform, data_dependent, or bitline or wordline with measured rates");
  }
  for (const double rate : rates_) {
    if (!(rate >= 0.0 && rate <= failure_)) {
      refuse("a rate of its error model", rate, "0 to failure (" + number_text(failure_) + ")");
    }
  }
}

double ErrorModel::number(const char* name) const {
  const Json value = form_.value(name, Json());
  if (!value.is_number() || !(value.get<double>() >= 0.0 && value.get<double>() <= 1.0)) {
    refuse(name, value, "a number from 0 to 1");
  }
  return value.get<double>();
}

double ErrorModel::highest_ber() const {
  return of_lines() ? highest_line_ber(rates_.data(), rates_.size(), failure_) : failure_;
}

ErrorModel ErrorModel::scaled(double ber) const {
  Json form = form_;
  if (of_lines()) {
    form["rates"] = scale_line_rates(rates_.data(), rates_.size(), failure_, ber);
  } else if (uniform_) {
    form["ber"] = ber;
  } else {
    const StoredRates rates = scale_stored_rates({rates_[0], rates_[1]}, failure_, ber);
    form["ber_zero"] = rates.zero;
    form["ber_one"] = rates.one;
  }
  return ErrorModel(std::move(form));
}

std::array<int64_t, kRegionFields> ErrorModel::region(uint64_t address, Correction correction,
                                                      int64_t table_first) const {
  if (!of_lines()) return make_region(rates_[0], rates_[1], failure_, address, correction);
  const Json& geometry = form_["geometry"];
  return make_lines_region(kind_, TableKind::kMeasured, failure_, address, correction, table_first,
                           static_cast<int64_t>(rates_.size()), geometry["row_bits"],
                           geometry["subarray_rows"]);
}

std::vector<int64_t> ErrorModel::table() const {
  if (!of_lines()) return {};
  std::vector<double> weak;
  for (const double rate : rates_) weak.push_back(std::min(rate / failure_, 1.0));
  return make_line_table(weak.data(), weak.size());
}

}  // namespace eden::profiler
