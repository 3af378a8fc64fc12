// Likelihoods of cells that are read repeatedly, each weak or not for good.
//
// A cell is weak with probability P; a read of a weak cell fails with probability F. Of n reads of
// one cell k fail with probability (1 - P) [k = 0] + P Binom(k; n, F), a zero-inflated binomial
// (Lambert, "Zero-inflated Poisson regression", Technometrics 34, 1992; Hall, Biometrics 56, 2000).
// A cell is seen if it fails at least once, with probability P q, q = 1 - (1 - F)^n; the number of
// failures of a seen cell is a binomial without its zero. The likelihood is the product of both
// parts: the number of cells seen tells P q, their failures tell F.
//
// Likelihoods are those of which reads of which cells failed, not of how many: without binomial
// coefficients, so that models that count the same failures along different lines are compared on
// the same data.
#pragma once

#include <cstdint>
#include <vector>

namespace eden {

// The reads of the cells that were seen to fail.
struct Reads {
  int64_t reads;    // n of every cell
  double seen;      // cells that failed at least once
  double failures;  // reads that failed, of all cells
};

// The share of weak cells that are seen, and its complement, each precise where it is small.
struct Seen {
  double share;   // 1 - (1 - F)^n
  double unseen;  // (1 - F)^n
};
Seen seen_share(double failure, int64_t reads);

// Logarithm of the probability of the seen cells' failing reads, given that they were seen; minus
// infinity where F = 1 cannot have made them.
double log_failures(const Reads& reads, double failure);

// The most likely F of the failures alone, in [0, 1]: 0 if every seen cell failed in one read only
// (and n > 1), 1 if in all.
double likeliest_failure(const std::vector<Reads>& samples);

// Probabilities of 1 to n failures of a cell that was seen.
std::vector<double> failure_probabilities(double failure, int64_t reads);

}  // namespace eden
