// Random numbers for simulations, and judging a count of random events.
#pragma once

#include <cmath>
#include <cstdint>

// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
// because a simulation seeds one generator per chip and the standard ones take long to seed.
class SplitMix64 {
 public:
  using result_type = uint64_t;
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }
  uint64_t operator()() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// P(Binomial(n, p) >= k).
inline double binomial_tail(int n, double p, int k) {
  double tail = 0.0;
  for (int i = k; i <= n; ++i) {
    tail += std::exp(std::lgamma(n + 1.0) - std::lgamma(i + 1.0) - std::lgamma(n - i + 1.0) +
                     i * std::log(p) + (n - i) * std::log1p(-p));
  }
  return tail;
}
