#include "profiler/tolerance.h"

#include <algorithm>
#include <cstdio>

#include "base/drawn_chips.h"
#include "base/random_layout.h"
#include "base/refusal.h"
#include "tolerance/samples.h"

namespace eden::profiler {
namespace {

constexpr int kVersion = 2;

Json certificate_of(const Search& search, const Certificate& certificate, const Found& found) {
  const bool whole = found.confirming == found.samples;
  Json possible = Json::array();
  for (const PossibleDrop& one : search.possible_drops(certificate, found.confirming, whole)) {
    possible.push_back({{"drop", one.drop}, {"probability", one.probability}});
  }
  return {{"chips", certificate.chips},
          {"samples", certificate.chips * found.confirming},
          {"batch", found.confirming},
          {"mean_drop", certificate.mean_drop},
          {"violating", certificate.violating},
          {"upper_bound", certificate.upper_bound},
          {"back_offs", certificate.back_offs},
          {"alpha", certificate.alpha},
          {"total_alpha", certificate.total_alpha},
          {"first_chip", certificate.first_chip},
          {"first_trial", certificate.first_trial},
          {"worst", certificate.worst},
          {"worst_share", certificate.worst_share},
          {"possible", possible}};
}

// A part in hundredths, with so many decimals, as Python's percentages.
std::string percent(double part, int decimals) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f%%", decimals, 100.0 * part);
  return text;
}

// Certificate.account of eden/tolerance/tolerance.py.
std::string account_of(const Json& certificate) {
  constexpr double kFew = 0.5;
  const double share = certificate["worst_share"];
  std::string text = share >= kFew ? "a few chips make the drop: " : "";
  text += "the worst hundredth of " + std::to_string(certificate["chips"].get<int64_t>()) +
          " makes " + percent(share, 0) + " of it, the worst lost " +
          percent(certificate["worst"], 1) + " of " +
          std::to_string(certificate["batch"].get<int64_t>()) + " samples; ";
  if (certificate["possible"].empty()) {
    return text + "what one chip may lose cannot be told from so few chips or samples";
  }
  std::string told;
  for (const Json& one : certificate["possible"]) {
    told += (told.empty() ? "" : ", ") + percent(one["drop"], 0) + " with probability " +
            short_number(one["probability"], 2) + " at most";
  }
  return text + "a chip loses more than " + told;
}

}  // namespace

std::string short_number(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

Json guarantee_of(const Options& options) {
  return options.quantile ? Json::array({"quantile", *options.quantile}) : Json("mean");
}

Json tolerance_of(const Options& options, const Found& found) {
  const Search& search = *found.search;
  const double floor = search.settings().floor;
  // The core's arithmetic may leave the floor by the last bit.
  const auto rate = [floor](double value) { return std::max(floor, value); };
  Json limits = Json::object(), bytes = Json::object(), kinds = Json::object(),
       storage = Json::object(), models = Json::object(), weights = Json::object(),
       alone = Json::object(), observations = Json::object();
  const auto& confirmed = search.limits_certificate();
  for (size_t i = 0; i < found.operands.size(); ++i) {
    const Operand& operand = *found.operands[i];
    const double limit = rate(confirmed ? search.limits()[i] : search.coarse());
    limits[operand.name] = limit;
    bytes[operand.name] = operand.bytes;
    kinds[operand.name] = operand.kind;
    storage[operand.name] = operand.storage;
    models[operand.name] = operand.errors->form_at(limit);
    if (confirmed) weights[operand.name] = search.settings().operands[i].weight;
  }
  for (size_t i = 0; confirmed && i < search.responses().size(); ++i) {
    const OperandResponse& response = search.responses()[i];
    alone[found.operands[i]->name] = {{"rate", rate(response.rate)},
                                      {"low", rate(response.low)},
                                      {"high", rate(response.high)},
                                      {"slope", response.slope},
                                      {"observations", response.observations}};
  }
  for (const auto& [phase, count] : found.observations) observations[phase] = count;
  Json chips = Json::array();
  for (const ChipsSeen& seen : search.chips_seen()) {
    chips.push_back({{"purpose", name_of(seen.purpose)},
                     {"seed", options.seed},
                     {"first", seen.first},
                     {"count", seen.count}});
  }
  return {
      {"format", "eden-tolerance"},
      {"version", kVersion},
      {"provenance",
       {{"of", found.made_of},
        {"chips", chips},
        {"settings", Json::object()},
        {"eden_version", EDEN_VERSION},
        {"random_layout", kRandomLayoutVersion}}},
      {"coarse", rate(search.coarse())},
      {"limits", limits},
      {"bytes", bytes},
      {"kinds", kinds},
      {"storage", storage},
      {"error_models", models},
      {"max_drop", options.max_drop},
      {"confidence", options.confidence},
      {"guarantee", guarantee_of(options)},
      {"metric", options.metric},
      {"reference_accuracy", found.reference},
      {"float_accuracy", nullptr},
      {"own_accuracy", nullptr},
      {"samples", found.samples},
      {"population", found.population},
      {"coarse_certificate", certificate_of(search, *search.coarse_certificate(), found)},
      {"limits_certificate", confirmed ? certificate_of(search, *confirmed, found) : Json()},
      {"seed", options.seed},
      {"random_layout", kRandomLayoutVersion},
      {"eden_version", EDEN_VERSION},
      {"observations", observations},
      {"strategy", options.strategy},
      {"effort", options.effort},
      {"weights", weights},
      {"alone", alone},
      {"lower_is_better", false},
      {"unfinished", search.ended_by_budget() || search.samples_spent() ? search.message() : ""}};
}

// Tolerance.claim of eden/tolerance/tolerance.py.
static std::string claim_of(const Json& tolerance) {
  const std::string samples = grouped(tolerance["samples"]);
  if (tolerance["population"] == "data") {
    return "the limits hold for the data that the " + samples + " samples were drawn from";
  }
  SearchSettings settings;
  settings.max_drop = tolerance["max_drop"];
  settings.confidence = tolerance["confidence"];
  settings.effort = tolerance["effort"];
  settings.coarse_only = tolerance["limits_certificate"].is_null();
  return "the limits hold for these " + samples +
         " samples; what is claimed of the data that they were drawn from takes " +
         grouped(samples_needed(settings, settings.effort));
}

std::string table_of(const Json& tolerance) {
  const double coarse = tolerance["coarse"], max_drop = tolerance["max_drop"];
  const bool measured = !tolerance["alone"].empty();
  const bool confirmed = !tolerance["limits_certificate"].is_null();
  std::vector<std::vector<std::string>> rows{{"operand", "bytes", "limit", "x coarse"}};
  if (measured) rows[0].insert(rows[0].end(), {"alone", "90% interval", "drop per BER"});
  int64_t total = 0;
  for (const auto& [name, value] : tolerance["limits"].items()) {
    const double limit = value;
    const int64_t bytes = tolerance["bytes"][name];
    total += bytes;
    rows.push_back({name, grouped(bytes), short_number(limit, 3), short_number(limit / coarse, 3)});
    if (measured) {
      const Json& alone = tolerance["alone"][name];
      const double rate = alone["rate"];
      rows.back().push_back(short_number(rate, 2));
      rows.back().push_back(short_number(alone["low"], 2) + " to " +
                            short_number(alone["high"], 2));
      rows.back().push_back(short_number(max_drop / rate, 2));
    }
  }
  rows.push_back({"all alike (coarse)", grouped(total), short_number(coarse, 3), "1"});
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i) {
      line += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    }
    text += line + "\n";
  }
  return text + account_of(tolerance[confirmed ? "limits_certificate" : "coarse_certificate"]) +
         "\n" + claim_of(tolerance) + "\n";
}

}  // namespace eden::profiler
