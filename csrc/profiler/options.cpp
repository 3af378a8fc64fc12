#include "profiler/options.h"

#include <getopt.h>

#include <charconv>
#include <cstring>
#include <iostream>
#include <map>
#include <vector>

namespace eden::profiler {

const char kUsage[] =
    R"(usage: eden-profile --package FILE --data FILE --out FILE [options]

Finds the highest bit error rate that a network, and then each of its operands, tolerates.

  --package FILE      network, written by eden export; its code is run
  --data FILE         samples: safetensors with inputs and targets
  -o, --out FILE      tolerance file to write
  --max-drop X        accuracy that may be lost, inside (0, 1) [0.01]
  --confidence X      probability with which the limits hold [0.95]
  --quantile X        share of chips whose drop is bounded, instead of the mean over chips
  --metric NAME       top1 or top5 [top1]
  --samples N         samples of one observation [64]
  --strategy NAME     shares, or sweep: the reference, one step of one operand at a time [shares]
  --weigh NAME        bytes or energy: what a limit is worth raising for [bytes]
  --effort X          length of a confirmation, in multiples of the least [6]
  --coarse-only       one rate for the whole network
  --journal FILE      file that an interrupted search resumes from [OUT.journal, until it ends]
  --max-trials N      observations after which the search gives up
  --seed N            what chips are drawn from [0]
  --threads N         threads of torch [all cores]
  --version, --help
)";

namespace {

// Of options without a letter of their own; above every character.
enum Option : int {
  kPackage = 256,
  kData,
  kMaxDrop,
  kConfidence,
  kQuantile,
  kMetric,
  kSamples,
  kStrategy,
  kWeigh,
  kEffort,
  kCoarseOnly,
  kJournal,
  kMaxTrials,
  kSeed,
  kThreads,
  kVersion,
};

const option kOptions[] = {{"package", required_argument, nullptr, kPackage},
                           {"data", required_argument, nullptr, kData},
                           {"out", required_argument, nullptr, 'o'},
                           {"max-drop", required_argument, nullptr, kMaxDrop},
                           {"confidence", required_argument, nullptr, kConfidence},
                           {"quantile", required_argument, nullptr, kQuantile},
                           {"metric", required_argument, nullptr, kMetric},
                           {"samples", required_argument, nullptr, kSamples},
                           {"strategy", required_argument, nullptr, kStrategy},
                           {"weigh", required_argument, nullptr, kWeigh},
                           {"effort", required_argument, nullptr, kEffort},
                           {"coarse-only", no_argument, nullptr, kCoarseOnly},
                           {"journal", required_argument, nullptr, kJournal},
                           {"max-trials", required_argument, nullptr, kMaxTrials},
                           {"seed", required_argument, nullptr, kSeed},
                           {"threads", required_argument, nullptr, kThreads},
                           {"version", no_argument, nullptr, kVersion},
                           {"help", no_argument, nullptr, 'h'},
                           {nullptr, 0, nullptr, 0}};

template <class Number>
Number number_of(const char* name, const char* text, const char* allowed) {
  Number value{};
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end || text == end) {
    throw UsageError(std::string("--") + name + " is '" + text + "'; allowed is " + allowed);
  }
  return value;
}

template <class Number>
Number positive(const char* name, const char* text) {
  const Number value = number_of<Number>(name, text, "a whole number of 1 or more");
  if (value < 1) {
    throw UsageError(std::string("--") + name + " is " + text + "; allowed is 1 or more");
  }
  return value;
}

std::string one_of(const char* name, const char* text, const std::vector<std::string>& allowed) {
  std::string names;
  for (const std::string& value : allowed) {
    if (value == text) return value;
    names += (names.empty() ? "" : " and ") + value;
  }
  throw UsageError(std::string("--") + name + " is '" + text + "'; allowed are " + names);
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  Options options;
  opterr = 0;
  for (int found; (found = getopt_long(argc, argv, ":o:h", kOptions, nullptr)) != -1;) {
    switch (found) {
      case kPackage:
        options.package = optarg;
        break;
      case kData:
        options.data = optarg;
        break;
      case 'o':
        options.out = optarg;
        break;
      case kMaxDrop:
        options.max_drop = number_of<double>("max-drop", optarg, "a number inside (0, 1)");
        break;
      case kConfidence:
        options.confidence = number_of<double>("confidence", optarg, "a number inside (0, 1)");
        break;
      case kQuantile:
        options.quantile = number_of<double>("quantile", optarg, "a number inside (0, 1)");
        break;
      case kMetric:
        options.metric = one_of("metric", optarg, {"top1", "top5"});
        break;
      case kSamples:
        options.samples = positive<int64_t>("samples", optarg);
        break;
      case kStrategy:
        options.strategy = one_of("strategy", optarg, {"shares", "sweep"}) == "sweep"
                               ? SearchStrategy::kSweep
                               : SearchStrategy::kShares;
        break;
      case kWeigh:
        options.weigh = one_of("weigh", optarg, {"bytes", "energy"});
        break;
      case kEffort:
        options.effort = number_of<double>("effort", optarg, "a number from 1.5 to 1000");
        break;
      case kCoarseOnly:
        options.coarse_only = true;
        break;
      case kJournal:
        options.journal = optarg;
        break;
      case kMaxTrials:
        options.max_trials = positive<int64_t>("max-trials", optarg);
        break;
      case kSeed:
        options.seed = number_of<int64_t>("seed", optarg, "a 64-bit integer");
        break;
      case kThreads:
        options.threads = positive<int>("threads", optarg);
        break;
      case kVersion:
        std::cout << "eden-profile " << EDEN_VERSION << '\n';
        return std::nullopt;
      case 'h':
        std::cout << kUsage;
        return std::nullopt;
      case ':':
        throw UsageError(std::string(argv[optind - 1]) + " lacks its value");
      default:
        throw UsageError(std::string("no such option: ") + argv[optind - 1]);
    }
  }
  if (optind < argc) throw UsageError(std::string("unexpected argument: ") + argv[optind]);
  const std::pair<const char*, const std::string*> needed[] = {
      {"--package", &options.package}, {"--data", &options.data}, {"--out", &options.out}};
  for (const auto& [name, value] : needed) {
    if (value->empty()) throw UsageError(std::string(name) + " is missing");
  }
  return options;
}

}  // namespace eden::profiler
