// eden-profile: what eden.profile_package does, without Python. docs/characterize.md has the
// statement that comes out.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "core/random_layout.h"
#include "core/search.h"
#include "profiler/files.h"
#include "profiler/journal.h"
#include "profiler/options.h"
#include "profiler/package.h"
#include "profiler/progress.h"
#include "profiler/samples.h"
#include "profiler/tolerance.h"

namespace eden::profiler {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2;
constexpr double kCeiling = 0.5;  // there a stored bit says nothing any more
constexpr int64_t kTrialsBetweenEstimates = 20;

// Whether the target is among the k highest outputs, as float64 (N,); never where an output is NaN,
// whatever place that takes in an order.
at::Tensor scores(const at::Tensor& output, const at::Tensor& targets, int64_t k) {
  if (output.dim() != 2 || output.size(1) < k) {
    throw std::invalid_argument("metric 'top" + std::to_string(k) + "': the network has " +
                                std::to_string(output.dim() == 2 ? output.size(1) : 0) +
                                " classes; allowed are " + std::to_string(k) + " or more");
  }
  const at::Tensor best = std::get<1>(output.topk(k, 1));
  const at::Tensor found = best.eq(targets.unsqueeze(1)).any(1);
  return found.logical_and(output.isnan().any(1).logical_not()).to(at::kDouble);
}

// A network that answers a search.
class Evaluator {
 public:
  Evaluator(Package& package, const Samples& samples, int64_t k, int64_t batch)
      : package_(package), samples_(samples), k_(k), batch_(batch) {
    clean_ = scores(package.run(samples.inputs, {}, 0), samples.targets, k);
  }

  double reference() const { return clean_.mean().item<double>(); }

  double evaluate(const Trial& trial, const std::vector<const Operand*>& operands) {
    std::vector<ErrorModel> errors;
    for (size_t i = 0; i < operands.size(); ++i) {
      errors.push_back(operands[i]->errors->scaled(trial.rates[i]));
    }
    const std::vector<int64_t> drawn =
        draw_samples(trial.draw_seed, samples_.inputs.size(0), batch_);
    const at::Tensor indices = at::tensor(drawn, at::kLong);
    const at::Tensor faulty =
        scores(package_.run(samples_.inputs.index_select(0, indices), errors, trial.chip),
               samples_.targets.index_select(0, indices), k_);
    return (clean_.index_select(0, indices) - faulty).sum().item<double>() /
           static_cast<double>(batch_);
  }

 private:
  Package& package_;
  const Samples& samples_;
  int64_t k_, batch_;
  at::Tensor clean_;
};

SearchSettings settings_of(const Options& options, const std::vector<const Operand*>& operands) {
  SearchSettings settings;
  for (const Operand* operand : operands) {
    const double weight =
        options.weigh == "bytes" ? static_cast<double>(operand->bytes) : operand->moved_bytes;
    settings.operands.push_back({operand->name, operand->bytes,
                                 std::min(kCeiling, operand->errors->highest_ber()), weight});
  }
  settings.max_drop = options.max_drop;
  settings.confidence = options.confidence;
  settings.quantile = options.quantile.value_or(0.0);
  settings.coarse_only = options.coarse_only;
  settings.seed = static_cast<uint64_t>(options.seed);
  settings.max_trials = options.max_trials;
  settings.strategy = options.strategy;
  settings.effort = options.effort;
  return settings;
}

// What names the run, as the Python driver names it.
Json fingerprint_of(const Options& options, const SearchSettings& settings, const Samples& samples,
                    const Package& package, int64_t batch) {
  Json weights = Json::array();
  for (const SearchOperand& operand : settings.operands) weights.push_back(operand.weight);
  return {{"eden", EDEN_VERSION},
          {"random_layout", kRandomLayoutVersion},
          {"max_drop", options.max_drop},
          {"confidence", options.confidence},
          {"guarantee", guarantee_of(options)},
          {"metric", options.metric},
          {"seed", options.seed},
          {"coarse_only", options.coarse_only},
          {"strategy", to_string(options.strategy)},
          {"weights", weights},
          {"effort", options.effort},
          {"lower_is_better", false},
          {"search", kSearchVersion},
          {"batch_size", batch},
          {"samples", samples.inputs.size(0)},
          {"data", samples.digest},
          {"package", package.digest()}};
}

void check_probability(const char* name, double value) {
  if (value > 0.0 && value < 1.0) return;
  throw std::invalid_argument(std::string(name) + " is " + number_text(value) +
                              "; allowed is inside (0, 1)");
}

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string step_text(const Trial& trial, const std::vector<const Operand*>& operands) {
  const bool one = trial.operand >= 0;
  const size_t at = one ? static_cast<size_t>(trial.operand) : 0;
  const double rate =
      one ? trial.rates[at] : *std::max_element(trial.rates.begin(), trial.rates.end());
  char text[32];
  std::snprintf(text, sizeof text, " at %.2g", rate);
  return (one ? operands[at]->name : to_string(trial.phase)) + std::string(text);
}

void run(const Options& options) {
  check_probability("max_drop", options.max_drop);
  check_probability("confidence", options.confidence);
  if (options.quantile) check_probability("quantile", *options.quantile);
  check_writable(options.out);
  if (options.threads) at::set_num_threads(*options.threads);
  const c10::InferenceMode inference;

  const Samples samples = read_samples(options.data);
  Package package(options.package);
  package.check_samples(samples.inputs, options.data);
  Found found;
  for (const Operand& operand : package.operands()) {
    if (operand.errors) found.operands.push_back(&operand);
  }
  found.samples = samples.inputs.size(0);
  found.batch = options.quantile ? found.samples : std::min(options.samples, found.samples);
  Search search(settings_of(options, found.operands));
  found.search = &search;

  Evaluator evaluator(package, samples, options.metric == "top5" ? 5 : 1, found.batch);
  found.reference = evaluator.reference();
  if (found.reference <= options.max_drop) {
    throw std::invalid_argument("on reliable memory the network scores " + shown(found.reference) +
                                ", no more than max_drop (" + number_text(options.max_drop) +
                                "), by '" + options.metric +
                                "', so no error rate could be too high; allowed is a max_drop "
                                "that its score leaves room for");
  }

  const std::string journal_path = options.journal.value_or(options.out + ".journal");
  const auto count = [&found](const Trial& trial) {
    const std::string phase = to_string(trial.phase);
    for (auto& [name, number] : found.observations) {
      if (name == phase) {
        ++number;
        return;
      }
    }
    found.observations.emplace_back(phase, 1);
  };
  {
    Journal journal(journal_path,
                    fingerprint_of(options, search.settings(), samples, package, found.batch));
    for (const Report& report : journal.history()) {
      const std::optional<Trial> trial = search.next_trial();
      if (!trial) break;
      search.report(report.id, report.difference);
      count(*trial);
    }
    Progress progress;
    int64_t expected = search.expected_trials();
    while (const std::optional<Trial> trial = search.next_trial()) {
      const double difference = evaluator.evaluate(*trial, found.operands);
      search.report(trial->id, difference);
      // After the report, so that no value that the search refuses is kept.
      journal.append({trial->id, difference});
      count(*trial);
      if (trial->id % kTrialsBetweenEstimates == 0 || search.state() != SearchState::kRunning) {
        expected = search.expected_trials();
      }
      progress.tell(trial->id + 1, expected, step_text(*trial, found.operands));
    }
  }
  const bool done = search.state() == SearchState::kDone;
  std::string table;
  if (done) {
    const Json tolerance = tolerance_of(options, found);
    write_whole(options.out, json_text(tolerance, 2) + "\n");
    table = table_of(tolerance);
  }
  // Of a search that has ended: the same command would only end there again, and another must not
  // be refused.
  if (!options.journal) std::remove(journal_path.c_str());
  if (!done) throw std::runtime_error(search.message());
  std::cout << table << "written: " << options.out << '\n';
}

}  // namespace
}  // namespace eden::profiler

int main(int argc, char** argv) {
  using namespace eden::profiler;
  try {
    const std::optional<Options> options = parse_options(argc, argv);
    if (options) run(*options);
    return 0;
  } catch (const UsageError& error) {
    std::cerr << "eden-profile: " << error.what() << "; see eden-profile --help\n";
    return kWrongUsage;
  } catch (const c10::Error& error) {
    std::cerr << "eden-profile: " << error.what_without_backtrace() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "eden-profile: " << error.what() << '\n';
  }
  return kFailed;
}
