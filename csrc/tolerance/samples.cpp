#include "tolerance/samples.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random_layout.h"
#include "base/refusal.h"
#include "tolerance/budget.h"

namespace eden {
namespace {

constexpr uint32_t kSplit = 2;    // detail of stream kSearch
constexpr int64_t kSeenPart = 3;  // one of so many parts is for decisions

int64_t seen_of(int64_t samples) { return samples / kSeenPart; }

}  // namespace

SamplePlan::SamplePlan(uint64_t seed, int64_t samples, int64_t batch, int64_t confirming)
    : samples_(samples), batch_(batch), confirming_(confirming), seen_(samples) {
  if (confirming < 0) refuse_value("confirming", confirming, "0 or more");
  if (confirming > 0) {
    seen_ = seen_of(samples);
    const PhiloxWords words = draw(seed, Stream::kSearch, kSplit, 0, 0);
    order_ = draw_samples(
        static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32),
        samples, samples);
    if (confirming > samples - seen_) {
      refuse_value("confirming", confirming, "up to ", samples - seen_, " of the ", samples,
                   " samples");
    }
  }
  batch_ = std::min(batch_, seen_);
  if (batch_ < 1) refuse_value("batch", batch, "1 or more samples");
}

int64_t SamplePlan::confirmations() const {
  return confirming_ == 0 ? 0 : (samples_ - seen_) / confirming_;
}

void SamplePlan::tell(SearchSettings& settings) const {
  settings.confirmations = confirmations();
  settings.confirming = confirming_;
  settings.batch = batch_;
  settings.seen = seen_;
}

std::vector<int64_t> SamplePlan::of(const Trial& trial) const {
  if (confirming_ > 0 && trial.confirmation >= 0) {
    if (trial.confirmation >= confirmations()) {
      refuse_value("the confirming observation", trial.confirmation, "below ", confirmations(),
                   ", which the samples do for");
    }
    const auto first = order_.begin() + seen_ + trial.confirmation * confirming_;
    return {first, first + confirming_};
  }
  std::vector<int64_t> drawn = draw_samples(trial.draw_seed, seen_, batch_);
  if (!order_.empty()) {
    for (int64_t& index : drawn) index = order_[static_cast<size_t>(index)];
  }
  return drawn;
}

std::vector<int64_t> SamplePlan::seen() const {
  if (!order_.empty()) return {order_.begin(), order_.begin() + seen_};
  std::vector<int64_t> all(static_cast<size_t>(samples_));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

int64_t SamplePlan::confirming_batch(const SearchSettings& settings, int64_t samples, int64_t batch,
                                     const std::string& population, std::string unfit) {
  if (!(population.empty() || population == "data" || population == "samples")) {
    refuse_value("population", text_of('\'', population, '\''), "'data' or 'samples'");
  }
  if (settings.quantile > 0.0) {
    unfit = "a quantile, which counts chips by their drop over samples that are given";
  } else if (settings.strategy == SearchStrategy::kSweep) {
    unfit = "the strategy 'sweep', whose every step would take samples of its own";
  } else if (settings.attempt > 1) {
    unfit =
        text_of("attempt ", settings.attempt, ", before which the samples that confirm were seen");
  }
  if (population == "data" && !unfit.empty()) {
    refuse("population is 'data' with ", unfit, "; allowed of it is 'samples'");
  }
  if (population == "samples" || !unfit.empty()) return 0;
  const int64_t usual = samples_needed(settings, settings.effort);
  const int64_t least = samples_needed(settings, kLeastEffortOfData);
  if (population == "data" && samples < least) {
    refuse("population is 'data' with ", grouped(samples), " samples; allowed with max_drop ",
           settings.max_drop, " and confidence ", settings.confidence, " are ", grouped(least),
           " or more, and ", grouped(usual), " for an effort of ", settings.effort,
           "; or 'samples', which claims nothing of other data");
  }
  if (population.empty() && samples < usual) return 0;
  return std::max<int64_t>(1, std::min(batch, samples / usual));
}

int64_t samples_needed(SearchSettings settings, double effort) {
  settings.confirmations = 1;  // there is an end
  const double confirming = std::ceil(confirmations_needed(settings, effort));
  return static_cast<int64_t>(
      std::ceil(confirming * static_cast<double>(kSeenPart) / static_cast<double>(kSeenPart - 1)));
}

}  // namespace eden
