#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/drawn_chips.h"
#include "base/refusal.h"
#include "python/bind.h"
#include "tolerance/budget.h"
#include "tolerance/samples.h"
#include "tolerance/search.h"

namespace py = pybind11;

namespace eden {
namespace {

SearchStrategy strategy_named(const std::string& name) {
  for (const SearchStrategy strategy : {SearchStrategy::kShares, SearchStrategy::kSweep}) {
    if (name == to_string(strategy)) return strategy;
  }
  refuse("strategy is '", name, "'; allowed are 'shares' and 'sweep'");
}

// A question as far as it decides how many samples it takes.
SearchSettings asked_of_samples(double max_drop, double confidence, double effort,
                                bool coarse_only) {
  SearchSettings settings;
  settings.operands = {{"", 1, 0.5}};
  settings.max_drop = max_drop;
  settings.confidence = confidence;
  settings.effort = effort;
  settings.coarse_only = coarse_only;
  settings.check();
  return settings;
}

}  // namespace

void bind_search(py::module_& m) {
  py::class_<Trial>(m, "Trial", "One observation that a search asks for.")
      .def_readonly("id", &Trial::id)
      .def_property_readonly("phase", [](const Trial& trial) { return to_string(trial.phase); })
      .def_property_readonly(
          "operand",
          [](const Trial& trial) {
            return trial.operand < 0 ? std::nullopt : std::optional<int>(trial.operand);
          },
          "Position of the operand whose rate is being raised, or None.")
      .def_readonly("rates", &Trial::rates)
      .def_property_readonly("chip",
                             [](const Trial& trial) { return static_cast<int64_t>(trial.chip); })
      .def_readonly("draw_seed", &Trial::draw_seed);

  py::class_<Certificate>(m, "Certificate", "What a confirmation showed.")
      .def_readonly("alpha", &Certificate::alpha)
      .def_readonly("total_alpha", &Certificate::total_alpha)
      .def_readonly("back_offs", &Certificate::back_offs)
      .def_readonly("chips", &Certificate::chips)
      .def_readonly("first_chip", &Certificate::first_chip)
      .def_readonly("first_trial", &Certificate::first_trial)
      .def_readonly("mean_drop", &Certificate::mean_drop)
      .def_readonly("violating", &Certificate::violating)
      .def_readonly("upper_bound", &Certificate::upper_bound)
      .def_readonly("worst", &Certificate::worst)
      .def_readonly("worst_share", &Certificate::worst_share);

  py::class_<BettingTest>(m, "BettingTest", "Whether a mean is below a bound, looked at any time.")
      .def(py::init<double, double>(), py::arg("bound"), py::arg("alpha"))
      .def("add", &BettingTest::add, py::arg("observation"))
      .def_property_readonly("rejected", &BettingTest::rejected)
      .def_property_readonly("log_capital", &BettingTest::log_capital)
      .def_property_readonly("upper_bound", &BettingTest::upper_bound);

  py::class_<OperandResponse>(m, "OperandResponse", "What an operand alone does to the score.")
      .def_readonly("rate", &OperandResponse::rate)
      .def_readonly("low", &OperandResponse::low)
      .def_readonly("high", &OperandResponse::high)
      .def_readonly("slope", &OperandResponse::slope)
      .def_readonly("observations", &OperandResponse::observations);

  py::class_<SamplePlan>(m, "SamplePlan", "Which samples each observation is made on.")
      .def(py::init([](int64_t seed, int64_t samples, int64_t batch, int64_t confirming) {
             return SamplePlan(static_cast<uint64_t>(seed), samples, batch, confirming);
           }),
           py::kw_only(), py::arg("seed"), py::arg("samples"), py::arg("batch"),
           py::arg("confirming") = 0,
           "batch: samples of an observation; confirming: of one that confirms, for a statement "
           "about the distribution of the samples; 0 for one about the samples.")
      .def_property_readonly("confirmations", &SamplePlan::confirmations)
      .def("of", &SamplePlan::of, py::arg("trial"), "The samples of a trial.")
      .def("seen", &SamplePlan::seen, "The samples that decisions see.");

  m.def(
      "samples_needed",
      [](double max_drop, double confidence, double effort, bool coarse_only) {
        const SearchSettings settings = asked_of_samples(max_drop, confidence, effort, coarse_only);
        return samples_needed(settings, effort);
      },
      py::kw_only(), py::arg("max_drop"), py::arg("confidence"), py::arg("effort"),
      py::arg("coarse_only") = false,
      "Samples that a statement about their distribution takes with an effort.");
  m.def(
      "confirming_batch",
      [](int64_t samples, int64_t batch, const std::optional<std::string>& population,
         double max_drop, double confidence, double effort, bool coarse_only,
         std::optional<double> quantile, const std::string& strategy, int64_t attempt,
         const std::string& unfit) {
        SearchSettings settings = asked_of_samples(max_drop, confidence, effort, coarse_only);
        settings.quantile = quantile.value_or(0.0);
        settings.strategy = strategy_named(strategy);
        settings.attempt = attempt;
        return SamplePlan::confirming_batch(settings, samples, batch, population.value_or(""),
                                            unfit);
      },
      py::kw_only(), py::arg("samples"), py::arg("batch"), py::arg("population"),
      py::arg("max_drop"), py::arg("confidence"), py::arg("effort"), py::arg("coarse_only"),
      py::arg("quantile"), py::arg("strategy"), py::arg("attempt"), py::arg("unfit"),
      "The samples of an observation that confirms; 0 for a statement about the samples alone. "
      "unfit: what else of the question data cannot be asked of, empty for nothing.");

  py::class_<Search>(m, "Search", "The search for tolerable bit error rates, as ask and tell.")
      .def(py::init([](const std::vector<std::tuple<std::string, int64_t, double>>& operands,
                       double max_drop, double confidence, std::optional<double> quantile,
                       double floor, bool coarse_only, int64_t seed,
                       std::optional<int64_t> max_trials,
                       const std::optional<std::vector<double>>& weights,
                       const std::string& strategy, double effort,
                       const std::optional<SamplePlan>& samples, int64_t attempt, bool verifies) {
             SearchSettings settings;
             for (const auto& [name, bytes, ceiling] : operands) {
               settings.operands.push_back({name, bytes, ceiling});
             }
             if (weights && weights->size() != operands.size()) {
               refuse_value("the number of weights", weights->size(), "one for each of the ",
                            operands.size(), " operands");
             }
             for (size_t i = 0; weights && i < operands.size(); ++i) {
               if (!((*weights)[i] >= 0.0)) {
                 refuse_value(text_of("weight of operand '", settings.operands[i].name, "'"),
                              (*weights)[i], "a number of 0 or more");
               }
               settings.operands[i].weight = (*weights)[i];
             }
             settings.max_drop = max_drop;
             settings.confidence = confidence;
             settings.quantile = quantile.value_or(0.0);
             settings.floor = floor;
             settings.coarse_only = coarse_only;
             settings.seed = static_cast<uint64_t>(seed);
             settings.strategy = strategy_named(strategy);
             settings.effort = effort;
             settings.attempt = attempt;
             settings.verifies = verifies;
             settings.max_trials = max_trials.value_or(0);
             if (samples && samples->confirmations() > 0) samples->tell(settings);
             return std::make_unique<Search>(std::move(settings));
           }),
           py::kw_only(), py::arg("operands"), py::arg("max_drop"), py::arg("confidence"),
           py::arg("quantile") = py::none(), py::arg("floor"), py::arg("coarse_only") = false,
           py::arg("seed") = 0, py::arg("max_trials") = py::none(), py::arg("weights") = py::none(),
           py::arg("strategy") = "shares", py::arg("effort") = SearchSettings{}.effort,
           py::arg("samples") = py::none(), py::arg("attempt") = 1, py::arg("verifies") = false,
           "operands: (name, bytes, highest rate); quantile: None for a guarantee on the mean; "
           "weights: one per operand, its bytes if None; strategy: shares or sweep; samples: the "
           "plan of what observations are made on, None where they are of the samples.")
      .def("next_trial", &Search::next_trial, "The trial that waits for its report, or None.")
      .def("next_trials", &Search::next_trials, py::arg("most"),
           "That trial and those after it for as long as nothing is decided.")
      .def("set_budget", &Search::set_budget, py::arg("observations"),
           "Reports in all that there will be, those made included; 0 for no end.")
      .def_property_readonly("budget", &Search::budget)
      .def_property_readonly("ended_by_budget", &Search::ended_by_budget)
      .def_property_readonly("samples_spent", &Search::samples_spent)
      .def_property_readonly("rate_interval", &Search::rate_interval)
      .def_property_readonly("drop_bound", &Search::drop_bound)
      .def_property_readonly(
          "least_confirmation",
          [](const Search& search) { return search.settings().least_confirmation(); },
          "Observations of one confirmation if no score drops.")
      .def("report", &Search::report, py::arg("id"), py::arg("difference"))
      .def_property_readonly("state",
                             [](const Search& search) { return to_string(search.state()); })
      .def_property_readonly("phase",
                             [](const Search& search) { return to_string(search.phase()); })
      .def_property_readonly("message", &Search::message)
      .def_property_readonly("expected_trials", &Search::expected_trials)
      .def_property_readonly("trials", [](const Search& search) { return search.history().size(); })
      .def_property_readonly("coarse", &Search::coarse)
      .def_property_readonly("limits", &Search::limits)
      .def_property_readonly("responses", &Search::responses)
      .def_property_readonly(
          "chips_seen",
          [](const Search& search) {
            std::vector<std::tuple<std::string, uint64_t, uint64_t>> found;
            for (const ChipsSeen& seen : search.chips_seen()) {
              found.emplace_back(name_of(seen.purpose), seen.first, seen.count);
            }
            return found;
          },
          "Purpose, first index and number of the chips that were observed.")
      .def_property_readonly("max_trials",
                             [](const Search& search) { return search.settings().max_trials; })
      .def_property_readonly(
          "steps",
          [](const Search& search) {
            return std::pair(search.settings().sweep_steps(),
                             search.settings().sweep_observations());
          },
          "Of a sweep: the most steps, and the observations of each one.")
      .def_property_readonly("coarse_certificate", &Search::coarse_certificate)
      .def_property_readonly("limits_certificate", &Search::limits_certificate)
      .def(
          "possible_drops",
          [](const Search& search, const Certificate& certificate, int64_t batch, bool whole) {
            std::vector<std::pair<double, double>> found;
            for (const auto& [drop, probability] :
                 search.possible_drops(certificate, batch, whole)) {
              found.emplace_back(drop, probability);
            }
            return found;
          },
          py::arg("certificate"), py::arg("batch"), py::arg("whole"),
          "(drop, probability): a chip loses more than the one with at most the other.");

  m.attr("SEARCH_VERSION") = kSearchVersion;
  m.attr("MOST_ATTEMPTS") = kMostAttempts;
  m.def("draw_samples", &draw_samples, py::arg("draw_seed"), py::arg("population"),
        py::arg("count"), "Different sample indices in random order.");
}

}  // namespace eden
