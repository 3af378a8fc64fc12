// Are the likelihoods of cells that fail along lines right?
#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "catch2.h"
#include "devices/fit_lines.h"

namespace {

using eden::LineCount;
using eden::LineLaw;
using eden::Seen;

double log_beta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

// By the number of weak cells that were not seen, with log-gammas.
double reference(int cells, int seen, const LineLaw& law, const Seen& q) {
  const double a = law.mean / law.spread, b = law.complement / law.spread;
  double sum = 0.0;
  for (int j = 0; j <= cells - seen; ++j) {
    if (q.unseen == 0.0 && j > 0) break;
    const double log_choose = std::lgamma(cells - seen + 1.0) - std::lgamma(j + 1.0) -
                              std::lgamma(cells - seen - j + 1.0);
    sum += std::exp(log_choose + seen * std::log(q.share) + (j > 0 ? j * std::log(q.unseen) : 0.0) +
                    log_beta(seen + j + a, cells - seen - j + b) - log_beta(a, b));
  }
  return std::log(sum);
}

// Of a weak cell that is read so often.
Seen seen_share(double failure, int reads) {
  const double unseen = std::pow(1.0 - failure, reads);
  return {1.0 - unseen, unseen};
}

}  // namespace

TEST_CASE("A line's likelihood equals a sum of log-gammas") {
  for (const double mean : {1e-6, 0.01, 0.4, 0.95}) {
    for (const double spread : {1e-3, 0.1, 2.0}) {
      for (const double failure : {0.05, 0.7, 1.0}) {
        for (const int cells : {1, 9, 60}) {
          for (const int seen : {0, 1, cells / 2, cells}) {
            const LineLaw law{mean, 1.0 - mean, spread};
            const Seen q = seen_share(failure, 2);
            CAPTURE(mean, spread, failure, cells, seen);
            CHECK(eden::log_line(cells, seen, law, q) ==
                  Approx(reference(cells, seen, law, q)).epsilon(1e-9).margin(1e-9));
          }
        }
      }
    }
  }
}

TEST_CASE("The probabilities of a line's counts sum to one where an integral takes over") {
  for (const double mean : {1e-7, 1e-3, 0.3, 0.9}) {
    for (const double rho : {1e-6, 1e-3, 0.1, 0.5, 0.9}) {
      for (const double share : {0.05, 0.4, 0.97}) {
        const LineLaw law{mean, 1.0 - mean, rho / (1.0 - rho)};
        double sum = 0.0, first = 0.0;
        for (int seen = 0; seen <= 4096; ++seen) {
          const double probability = eden::line_probability(4096, seen, law, {share, 1.0 - share});
          sum += probability;
          first += probability * seen;
        }
        CAPTURE(mean, rho, share);
        CHECK(sum == Approx(1.0).epsilon(1e-8));
        CHECK(first == Approx(4096 * mean * share).epsilon(1e-7));
      }
    }
  }
}

TEST_CASE("No spread is the binomial, smoothly") {
  for (const double share : {0.2, 1.0}) {
    const Seen q{share, 1.0 - share};
    const double alike = eden::log_line(5000, 40, {0.01, 0.99, 0.0}, q);
    CHECK(alike == Approx(40 * std::log(0.01 * share) + 4960 * std::log1p(-0.01 * share)));
    CHECK(eden::log_line(5000, 40, {0.01, 0.99, 1e-12}, q) == Approx(alike).margin(1e-6));
    CHECK(eden::log_line(5000, 40, {0.01, 0.99, 1e-9}, q) == Approx(alike).margin(1e-3));
  }
}

TEST_CASE("Many lines have the likelihood of their sum, counted and interpolated") {
  for (const int64_t cells : {512, 65536}) {
    std::mt19937_64 random(3);
    std::vector<int64_t> lengths(4000, cells), seen;
    for (size_t i = 0; i < lengths.size(); ++i) {
      std::gamma_distribution<double> first(0.8), second(4.0);
      const double a = first(random), b = second(random);
      seen.push_back(std::binomial_distribution<int64_t>(cells, a / (a + b))(random));
    }
    const auto counts = eden::count_lines(lengths.data(), seen.data(), nullptr, seen.size());
    const eden::LineLikelihood likelihood(counts);
    CHECK(likelihood.lines() == 4000.0);
    for (const LineLaw& law : {LineLaw{0.1667, 0.8333, 0.2}, LineLaw{0.1, 0.9, 1e-3},
                               LineLaw{0.3, 0.7, 3.0}, LineLaw{0.17, 0.83, 0.0}}) {
      for (const Seen& q : {Seen{1.0, 0.0}, Seen{0.999, 0.001}, Seen{0.5, 0.5}}) {
        double expected = 0.0;
        for (const LineCount& count : counts) {
          expected += count.lines * eden::log_line(count.cells, count.seen, law, q);
        }
        CAPTURE(cells, law.spread, q.share);
        // What intervals feel is a difference of 2; the sums are of some 10^6.
        CHECK(likelihood(law, q) == Approx(expected).epsilon(1e-12).margin(1e-3));
      }
    }
  }
}

TEST_CASE("Lines that cannot be are refused by number") {
  const int64_t cells[] = {8, 8}, seen[] = {3, 9};
  CHECK_THROWS_WITH(eden::count_lines(cells, seen, nullptr, 2),
                    Catch::Contains("line 1 has 9 of 8 cells seen"));
}
