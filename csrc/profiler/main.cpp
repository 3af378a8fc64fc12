// eden-profile: what eden.profile does with a package, without Python. The statement that
// comes out is in docs/explanation/tolerance.md.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/drawn_chips.h"
#include "base/random_layout.h"
#include "base/refusal.h"
#include "profiler/drive.h"
#include "profiler/files.h"
#include "profiler/journal.h"
#include "profiler/options.h"
#include "profiler/package.h"
#include "profiler/samples.h"
#include "profiler/signals.h"
#include "profiler/tolerance.h"
#include "tolerance/samples.h"
#include "tolerance/search.h"

namespace eden::profiler {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2, kInterrupted = 130;
constexpr double kCeiling = 0.5;  // there a stored bit says nothing any more

// Whether the target is among the k highest outputs, as float64 (N,); never where an output is NaN,
// whatever place that takes in an order.
at::Tensor scores(const at::Tensor& output, const at::Tensor& targets, int64_t k) {
  if (output.dim() != 2 || output.size(1) < k) {
    refuse("metric 'top", k, "': the network has ", output.dim() == 2 ? output.size(1) : 0,
           " classes; allowed are ", k, " or more");
  }
  const at::Tensor best = std::get<1>(output.topk(k, 1));
  const at::Tensor found = best.eq(targets.unsqueeze(1)).any(1);
  return found.logical_and(output.isnan().any(1).logical_not()).to(at::kDouble);
}

// A network that answers a search.
class Evaluator {
 public:
  Evaluator(Package& package, const Samples& samples, int64_t k, const SamplePlan& plan)
      : package_(package), samples_(samples), k_(k), plan_(plan) {
    clean_ = scores(package.run(samples.inputs, {}, 0, check_interruption), samples.targets, k);
  }

  double reference() const { return clean_.mean().item<double>(); }

  double evaluate(const Trial& trial) {
    const at::Tensor drawn = at::tensor(plan_.of(trial), at::kLong);
    const at::Tensor output = package_.run(samples_.inputs.index_select(0, drawn), trial.rates,
                                           trial.chip, check_interruption);
    const at::Tensor faulty = scores(output, samples_.targets.index_select(0, drawn), k_);
    return (clean_.index_select(0, drawn) - faulty).sum().item<double>() /
           static_cast<double>(drawn.size(0));
  }

 private:
  Package& package_;
  const Samples& samples_;
  int64_t k_;
  const SamplePlan& plan_;
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
  settings.attempt = options.attempt;
  settings.max_trials = options.max_trials;
  settings.strategy =
      options.strategy == "sweep" ? SearchStrategy::kSweep : SearchStrategy::kShares;
  settings.effort = options.effort;
  return settings;
}

// What names the run, as the Python driver names it.
Json fingerprint_of(const Options& options, const SearchSettings& settings, const Samples& samples,
                    const Package& package, int64_t batch, const char* population) {
  Json weights = Json::array();
  for (const SearchOperand& operand : settings.operands) weights.push_back(operand.weight);
  return {{"eden", EDEN_VERSION},
          {"random_layout", kRandomLayoutVersion},
          {"drawn_chips", kDrawnChipsVersion},
          {"max_drop", options.max_drop},
          {"confidence", options.confidence},
          {"guarantee", guarantee_of(options)},
          {"metric", options.metric},
          {"seed", options.seed},
          {"attempt", options.attempt},
          {"coarse_only", options.coarse_only},
          {"strategy", options.strategy},
          {"weights", weights},
          {"effort", options.effort},
          {"lower_is_better", false},
          {"search", kSearchVersion},
          {"batch_size", batch},
          {"population", population},
          {"samples", samples.inputs.size(0)},
          {"data", samples.digest},
          {"package", package.digest()}};
}

void check_budget(const Options& options, const SearchSettings& settings) {
  const int64_t least = settings.strategy == SearchStrategy::kSweep ? settings.sweep_observations()
                                                                    : settings.least_confirmation();
  if (options.budget == 0 || options.budget >= least) return;
  refuse("budget is ", options.budget, ", too few observations to confirm any rate with max_drop ",
         options.max_drop, " and confidence ", options.confidence, "; allowed is ", least,
         " or more, which do if no score drops and no rate is looked for");
}

void run(const Options& options) {
  const auto begun = std::chrono::steady_clock::now();
  const std::string journal_path = options.journal_path();
  check_output(options.out, {options.package, options.data, journal_path});
  if (options.threads > 0) at::set_num_threads(options.threads);
  const c10::InferenceMode inference;

  const Samples samples = read_samples(options.data);
  Package package(options.package, options.cuda_operators);
  package.check_samples(samples.inputs, options.data);
  Found found;
  for (const Operand& operand : package.operands()) {
    if (operand.errors) found.operands.push_back(&operand);
  }
  found.samples = samples.inputs.size(0);
  found.made_of = {{"package", package.digest()}, {"data", samples.digest}};
  if (!package.network().empty()) found.made_of["network"] = package.network();
  found.batch = options.quantile ? found.samples : std::min(options.samples, found.samples);
  SearchSettings settings = settings_of(options, found.operands);
  settings.check();
  const int64_t confirming =
      SamplePlan::confirming_batch(settings, found.samples, found.batch, options.population);
  const SamplePlan plan(settings.seed, found.samples, found.batch, confirming);
  if (confirming > 0) plan.tell(settings);
  found.population = confirming > 0 ? "data" : "samples";
  found.confirming = confirming > 0 ? confirming : found.batch;
  Search search(std::move(settings));
  found.search = &search;
  check_budget(options, search.settings());

  Evaluator evaluator(package, samples, options.metric == "top5" ? 5 : 1, plan);
  found.reference = evaluator.reference();
  if (found.reference <= options.max_drop) {
    refuse(
        "on reliable memory the network scores ", short_number(found.reference, 4),
        ", no more than max_drop (", options.max_drop, "), by '", options.metric,
        "', so no error rate could be too high; allowed is a max_drop that its score leaves room "
        "for");
  }
  {
    Journal journal(journal_path, fingerprint_of(options, search.settings(), samples, package,
                                                 found.batch, found.population));
    found.observations = drive(search, journal, options, begun,
                               [&](const Trial& trial) { return evaluator.evaluate(trial); });
  }
  const bool done = search.state() == SearchState::kDone && search.coarse_certificate();
  std::string text;
  if (done) {
    const Json tolerance = tolerance_of(options, found);
    write_whole(options.out, tolerance.dump(2, ' ', /*ensure_ascii=*/true) + "\n");
    text = table_of(tolerance);
    if (search.ended_by_budget()) {
      text += search.message() + "; the same command with a larger budget goes on from " +
              journal_path + "\n";
    }
  }
  // Where the search has ended, the same command would only end there again, and another must not
  // be refused; one that a budget has ended goes on with a larger one.
  const bool goes_on = done ? search.ended_by_budget() : options.budgeted();
  if (options.journal.empty() && !goes_on) std::remove(journal_path.c_str());
  if (!done) refuse<std::runtime_error>(search.message());
  std::cout << text << "written: " << options.out << '\n';
}

}  // namespace
}  // namespace eden::profiler

int main(int argc, char** argv) {
  using namespace eden::profiler;
  std::optional<Options> options;
  try {
    note_interruptions();
    options = parse_options(argc, argv);
    if (options) run(*options);
    return 0;
  } catch (const UsageError& error) {
    std::cerr << "eden-profile: " << error.what() << "; see eden-profile --help\n";
    return kWrongUsage;
  } catch (const Interrupted&) {
    const std::string journal = options->journal_path();
    std::cerr << "eden-profile: interrupted"
              << (std::filesystem::exists(journal)
                      ? "; what was observed is kept in " + journal +
                            ", and the same command goes on from there\n"
                      : " before anything was observed\n");
    return kInterrupted;
  } catch (const c10::Error& error) {
    std::cerr << "eden-profile: " << error.what_without_backtrace() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "eden-profile: " << error.what() << '\n';
  }
  return kFailed;
}
