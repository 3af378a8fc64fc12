// Which samples each observation is made on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tolerance/settings.h"
#include "tolerance/trial.h"

namespace eden {

// Of the samples alone, or of the distribution that they were drawn from. For the latter the seed
// splits them: decisions see the first part alone, and each sample of the other is used once, by
// one observation of a confirmation, which draws a chip of its own. So the observations of all
// confirmations are independent, of samples as well as of chips, and no rates under test depend on
// the samples that test them.
class SamplePlan {
 public:
  // `batch` samples in an observation; of one that confirms `confirming` samples for a statement
  // about the distribution, 0 for one about the samples. Throws std::invalid_argument for a batch
  // that its part of the samples does not have.
  SamplePlan(uint64_t seed, int64_t samples, int64_t batch, int64_t confirming);

  // The samples of an observation that confirms, of so many in all: for a statement about
  // "samples" 0, for one about "data", that is their distribution, as many as there is room for;
  // an empty population is that of data where it can be. `unfit` says what of the question beside
  // these settings data cannot be asked of, empty for nothing. Throws std::invalid_argument where
  // data are asked of and cannot be, or the samples do not do for the least effort.
  static int64_t confirming_batch(const SearchSettings& settings, int64_t samples, int64_t batch,
                                  const std::string& population, std::string unfit = "");

  // Observations that the confirmations may have in all; 0 for no end.
  int64_t confirmations() const;
  // For a search on these samples.
  void tell(SearchSettings& settings) const;

  std::vector<int64_t> of(const Trial& trial) const;
  // The samples that decisions see: all of them for a statement about them alone.
  std::vector<int64_t> seen() const;

 private:
  int64_t samples_, batch_, confirming_;
  int64_t seen_;                // samples that decisions see
  std::vector<int64_t> order_;  // those first; empty where nothing is split
};

// Samples that a statement about their distribution takes with an effort.
int64_t samples_needed(SearchSettings settings, double effort);

}  // namespace eden
