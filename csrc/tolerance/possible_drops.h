// What kind of chips a confirmation saw, and which drops its chips leave possible.
#pragma once

#include <cstdint>
#include <vector>

namespace eden {

// A chip loses more than `drop` with a probability of at most `probability`.
struct PossibleDrop {
  double drop = 0.0;
  double probability = 0.0;
};

// Part of the mean that the worst hundredth of the observations makes (of 150, two), from 0 to 1;
// 0 where the mean is not above 0. Where a few ruinous chips make the mean it is near 1.
double worst_share(const std::vector<double>& drops);

// The drops of a fixed list above `max_drop` of which something can be said, with probabilities
// that hold all together with probability 1 - alpha, at whatever observation one stops. `drops` are
// those of independent chips, each over `batch` samples, or over all that there are where `whole`.
//
// Of one threshold the observations above it are counted. Against the hypothesis that their
// probability is p the bets are half on p = 0, half on a mixture of all p by a Beta(1/2, 1/2)
// (Robbins 1970; Howard et al., Annals of Statistics 2021, section 3.4), and Ville's inequality
// bounds p. Where a chip is seen on a batch, a chip whose drop is above x shows more than t with
// probability 1 - exp(-batch kl((1 + t) / 2, (1 + x) / 2)) at least, also without replacement
// (Hoeffding 1963, theorems 1 and 4); t is taken so that this is 0.9.
std::vector<PossibleDrop> possible_drops(const std::vector<double>& drops, int64_t batch,
                                         bool whole, double max_drop, double alpha);

}  // namespace eden
