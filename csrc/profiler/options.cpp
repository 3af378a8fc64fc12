#include "profiler/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>
#include <type_traits>
#include <vector>

namespace eden::profiler {
namespace {

std::string refusal(const std::string& found, const std::string& allowed) {
  return "found '" + found + "', allowed " + allowed;
}

// Decimal numbers alone: CLI11 itself would take 010 for 8.
template <class Number>
CLI::Validator number(const char* allowed, bool (*fits)(Number)) {
  return {[=](std::string& text) {
            Number value{};
            const char* const end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, value);
            if (error != std::errc() || stop != end || !fits(value)) return refusal(text, allowed);
            if constexpr (std::is_integral_v<Number>) text = std::to_string(value);
            return std::string();
          },
          ""};
}

CLI::Validator one_of(std::vector<std::string> names) {
  return {[=](std::string& text) {
            const bool known = std::find(names.begin(), names.end(), text) != names.end();
            return known ? std::string()
                         : refusal(text, "are " + CLI::detail::join(names, " and "));
          },
          ""};
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Finds the highest bit error rate that a network, and then each of its operands, tolerates.",
      "eden-profile");
  app.set_version_flag("--version", "eden-profile " EDEN_VERSION);
  app.get_formatter()->column_width(26);
  const auto option = [&](const char* name, auto& value, const char* type, const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  const auto inside = number<double>("is a number inside (0, 1)",
                                     [](double value) { return value > 0.0 && value < 1.0; });
  const auto count =
      number<int64_t>("is a whole number of 1 or more", [](int64_t value) { return value >= 1; });
  const auto seconds = number<double>("is a number of seconds above 0", [](double value) {
    return value > 0.0 && std::isfinite(value);
  });

  option("--package", options.package, "FILE",
         "network, written by eden export for CPUs or a GPU; its code is run")
      ->required();
  option("--data", options.data, "FILE", "samples: safetensors with inputs and targets")
      ->required();
  option("-o,--out", options.out, "FILE", "tolerance file to write")->required();
  option("--max-drop", options.max_drop, "X", "accuracy that may be lost, inside (0, 1) [0.01]")
      ->transform(inside);
  option("--confidence", options.confidence, "X", "probability with which the limits hold [0.95]")
      ->transform(inside);
  option("--quantile", options.quantile, "X",
         "share of chips whose drop is bounded, instead of the mean over chips")
      ->transform(inside);
  option("--metric", options.metric, "NAME", "top1 or top5 [top1]")
      ->transform(one_of({"top1", "top5"}));
  option("--samples", options.samples, "N", "samples of one observation [64]")->transform(count);
  option("--strategy", options.strategy, "NAME",
         "shares, or sweep: the reference, one step of one operand at a time [shares]")
      ->transform(one_of({"shares", "sweep"}));
  option("--population", options.population, "NAME",
         "data or samples: of what the limits are [data, where there are enough samples]")
      ->transform(one_of({"data", "samples"}));
  option("--weigh", options.weigh, "NAME",
         "bytes or energy: what a limit is worth raising for [bytes]")
      ->transform(one_of({"bytes", "energy"}));
  option("--effort", options.effort, "X", "length of a confirmation, in multiples of the least [6]")
      ->transform(number<double>("is a number from 1.5 to 1000",
                                 [](double value) { return value >= 1.5 && value <= 1000.0; }));
  app.add_flag("--coarse-only", options.coarse_only, "one rate for the whole network");
  option("--journal", options.journal, "FILE",
         "file that an interrupted search resumes from [OUT.journal, until it ends]");
  auto* const budget = option("--budget", options.budget, "N",
                              "observations after which what is certified until then is the answer")
                           ->transform(count);
  option("--budget-seconds", options.budget_seconds, "X", "the same in seconds")
      ->transform(seconds)
      ->excludes(budget);
  option("--timeout", options.timeout, "X", "seconds after which one observation is given up")
      ->transform(seconds);
  option("--max-trials", options.max_trials, "N", "observations after which the search gives up")
      ->transform(count);
  option("--seed", options.seed, "N", "what chips are drawn from [0]")
      ->transform(number<int64_t>("is a 64-bit integer", [](int64_t) { return true; }));
  option("--attempt", options.attempt, "N",
         "which search of the seed it is, each on chips of its own [1]")
      ->transform(number<int64_t>("is a whole number from 1 to 8192", [](int64_t value) {
        return value >= 1 && value <= kMostAttempts;
      }));
  option("--threads", options.threads, "N", "threads of torch [all cores]")
      ->transform(
          number<int>("is a whole number of 1 or more", [](int value) { return value > 0; }));
  option("--cuda-operators", options.cuda_operators, "FILE",
         "EDEN's operators for a GPU [_ops_cuda.so beside this program, or where it was built]");
  // Of `eden profile`, but without a meaning here.
  app.add_option_function<std::string>("--reuse-limit",
                                       [](const std::string&) {
                                         throw CLI::ValidationError(
                                             "--reuse-limit",
                                             "a package is compiled as a whole, so no layer's "
                                             "output can be kept; allowed with eden profile "
                                             "--network");
                                       })
      ->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    app.exit(asked);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  return options;
}

}  // namespace eden::profiler
