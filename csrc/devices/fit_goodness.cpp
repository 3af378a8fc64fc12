#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "devices/fit_models.h"

namespace eden {
namespace {

// Classes aim at this share of the lines, and at no fewer lines than that.
constexpr double kShareOfClass = 0.05;
constexpr double kLeastExpected = 5.0;
// Wider classes are integrated.
constexpr double kSummed = 64.0;
// The lines of one kind are drawn as a multinomial where their counts' range is this small.
constexpr double kTabulated = 4096.0;

using Random = std::mt19937_64;

// Abscissas and weights of Gauss and Legendre's rule of 16 points, for one half.
constexpr std::array<double, 8> kAbscissas = {
    0.0950125098376374, 0.2816035507792589, 0.4580167776572274, 0.6178762444026438,
    0.7554044083550030, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499};
constexpr std::array<double, 8> kWeights = {
    0.1894506104550685, 0.1826034150449236, 0.1691565193950025, 0.1495959888165767,
    0.1246289712555339, 0.0951585116824928, 0.0622535239386479, 0.0271524594117541};

// Probability of the counts from low to high.
double mass(double cells, double low, double high, const LineLaw& law, const Seen& q) {
  double sum = 0.0;
  if (high - low <= kSummed) {
    for (double seen = low; seen <= high; ++seen) sum += line_probability(cells, seen, law, q);
    return sum;
  }
  // A wide class is one over which the probability varies slowly.
  const double middle = 0.5 * (low + high), half = 0.5 * (high - low + 1.0);
  for (size_t i = 0; i < kAbscissas.size(); ++i) {
    for (const double side : {-1.0, 1.0}) {
      sum += kWeights[i] *
             line_probability(cells, std::clamp(middle + side * half * kAbscissas[i], 0.0, cells),
                              law, q);
    }
  }
  return half * sum;
}

// Lines of one length that stored one value.
struct Set {
  size_t value;
  double cells;
  double lines;
  std::vector<double> ends;  // largest count of each class
};

std::vector<double> class_ends(double cells, double lines, const LineLaw& law, const Seen& q) {
  std::vector<double> ends;
  const double least = kLeastExpected / lines;
  double below = 0.0, own = 0.0;
  for (double seen = 0.0; seen < cells; ++seen) {
    const double probability = line_probability(cells, seen, law, q);
    below += probability;
    own += probability;
    const double above = 1.0 - below;
    if (above < least || above < 1e-9) break;
    if (own >= std::max(least, std::min(kShareOfClass, above))) {
      ends.push_back(seen);
      own = 0.0;
    }
  }
  if (!ends.empty()) ends.push_back(cells);
  return ends;
}

double draw_rate(const LineLaw& law, Random& random) {
  if (law.spread == 0.0) return law.mean;
  std::gamma_distribution<double> first(law.mean / law.spread), second(law.complement / law.spread);
  const double a = first(random), b = second(random);
  return a + b > 0.0 ? a / (a + b) : 0.0;
}

double draw_binomial(double n, double p, Random& random) {
  if (!(p > 0.0) || n == 0.0) return 0.0;
  std::binomial_distribution<int64_t> distribution(static_cast<int64_t>(n), std::min(p, 1.0));
  return static_cast<double>(distribution(random));
}

// Counts of n things that fall into classes of these probabilities.
std::vector<double> draw_multinomial(double n, const std::vector<double>& probabilities,
                                     Random& random) {
  std::vector<double> counts(probabilities.size());
  double left = 0.0;
  for (const double probability : probabilities) left += probability;
  for (size_t i = 0; i < probabilities.size() && n > 0.0; ++i) {
    counts[i] = i + 1 == probabilities.size()
                    ? n
                    : draw_binomial(n, probabilities[i] / std::max(left, 1e-300), random);
    n -= counts[i];
    left -= probabilities[i];
  }
  return counts;
}

class LineSource {
 public:
  LineSource(double cells, double lines, const LineLaw& law, const Seen& q)
      : cells_(cells), lines_(lines), law_(law), q_(q) {
    if (cells > kTabulated || lines < 256.0) return;
    double below = 0.0;
    for (double seen = 0.0; seen <= cells && below < 1.0 - 1e-14; ++seen) {
      table_.push_back(line_probability(cells, seen, law, q));
      below += table_.back();
    }
  }

  void draw(std::vector<LineCount>& counts, Random& random) const {
    if (!table_.empty()) {
      const std::vector<double> drawn = draw_multinomial(lines_, table_, random);
      for (size_t seen = 0; seen < drawn.size(); ++seen) {
        if (drawn[seen] > 0.0) counts.push_back({cells_, static_cast<double>(seen), drawn[seen]});
      }
      return;
    }
    std::vector<double> drawn(static_cast<size_t>(lines_));
    for (double& seen : drawn)
      seen = draw_binomial(cells_, draw_rate(law_, random) * q_.share, random);
    std::sort(drawn.begin(), drawn.end());
    for (size_t i = 0; i < drawn.size(); ++i) {
      if (i == 0 || drawn[i] != drawn[i - 1]) counts.push_back({cells_, drawn[i], 0.0});
      counts.back().lines += 1.0;
    }
  }

 private:
  double cells_, lines_;
  LineLaw law_;
  Seen q_;
  std::vector<double> table_;
};

LineLaw law_of(const ModelFit& fit, size_t rate) {
  const double mean = fit.weak[rate].estimate, rho = fit.dispersion.estimate;
  return {mean, 1.0 - mean, rho / (1.0 - rho)};
}

const std::vector<LineCount>& lines_of(const ValueCounts& value, Along along) {
  return along == Along::kBitlines ? value.bitlines : value.wordlines;
}

double pearson(const std::vector<GoodnessBin>& bins) {
  double sum = 0.0;
  for (const GoodnessBin& bin : bins) {
    const double difference = bin.observed - bin.expected;
    sum += difference * difference / std::max(bin.expected, 1e-6);
  }
  return sum;
}

void check_replicates(int64_t replicates) {
  if (replicates < 1) {
    throw std::invalid_argument("replicates is " + std::to_string(replicates) +
                                "; allowed is 1 or more");
  }
}

// p of a statistic among those of campaigns drawn from the fit, which is one of them itself.
template <class Replicate>
void bootstrap(Goodness& goodness, int64_t replicates, const Replicate& replicate) {
  goodness.statistic = pearson(goodness.bins);
  goodness.replicates = replicates;
  int64_t as_large = 0;
  for (int64_t i = 0; i < replicates; ++i) as_large += replicate() >= goodness.statistic;
  goodness.p_value = static_cast<double>(as_large + 1) / static_cast<double>(replicates + 1);
}

}  // namespace

Goodness lines_goodness(const std::vector<ValueCounts>& values, FitModel model, Along tested,
                        const ModelFit& fit, int64_t replicates, uint64_t seed) {
  check_replicates(replicates);
  if (tested == Along::kNothing || (model.along != Along::kNothing && model.along != tested)) {
    throw std::invalid_argument("tested are other lines than the model's; allowed are the model's");
  }
  const double failure = fit.failure.estimate;
  std::vector<Set> sets;
  for (size_t v = 0; v < values.size(); ++v) {
    const size_t rate = model.by_value ? v : 0;
    if (fit.weak[rate].estimate == 0.0) continue;
    const Seen q = seen_share(failure, values[v].reads.reads);
    for (const LineCount& count : lines_of(values[v], tested)) {
      if (sets.empty() || sets.back().value != v || sets.back().cells != count.cells) {
        sets.push_back({v, count.cells, 0.0, {}});
      }
      sets.back().lines += count.lines;
    }
    for (Set& set : sets) {
      if (set.value == v) set.ends = class_ends(set.cells, set.lines, law_of(fit, rate), q);
    }
  }
  // The classes of a campaign, with what its own fit expects there.
  const auto classify = [&](const std::vector<ValueCounts>& counted, const ModelFit& own) {
    std::vector<GoodnessBin> bins;
    for (const Set& set : sets) {
      if (set.ends.empty()) continue;
      const LineLaw law = law_of(own, model.by_value ? set.value : 0);
      const Seen q = seen_share(failure, counted[set.value].reads.reads);
      const size_t first = bins.size();
      double low = 0.0, left = 1.0;
      for (const double end : set.ends) {
        double share = left;
        if (end < set.cells) {
          share = law.mean > 0.0 ? std::min(mass(set.cells, low, end, law, q), left)
                                 : (low == 0.0 ? 1.0 : 0.0);
        }
        bins.push_back({set.value, set.cells, low, end, 0.0, share * set.lines});
        left = std::max(left - share, 0.0);
        low = end + 1.0;
      }
      for (const LineCount& count : lines_of(counted[set.value], tested)) {
        if (count.cells != set.cells) continue;
        size_t i = first;
        while (bins[i].high < count.seen) ++i;
        bins[i].observed += count.lines;
      }
    }
    return bins;
  };
  Goodness goodness;
  goodness.bins = classify(values, fit);
  if (goodness.bins.empty()) return goodness;

  std::vector<LineSource> sources;
  for (const Set& set : sets) {
    sources.emplace_back(set.cells, set.lines, law_of(fit, model.by_value ? set.value : 0),
                         seen_share(failure, values[set.value].reads.reads));
  }
  Random random(seed);
  bootstrap(goodness, replicates, [&] {
    std::vector<ValueCounts> drawn = values;
    for (ValueCounts& value : drawn) {
      value.bitlines.clear();
      value.wordlines.clear();
      value.reads.seen = 0.0;
    }
    for (size_t s = 0; s < sets.size(); ++s) {
      ValueCounts& value = drawn[sets[s].value];
      sources[s].draw(tested == Along::kBitlines ? value.bitlines : value.wordlines, random);
    }
    for (size_t v = 0; v < drawn.size(); ++v) {
      ValueCounts& value = drawn[v];
      std::vector<LineCount>& lines = tested == Along::kBitlines ? value.bitlines : value.wordlines;
      // A value whose rate is 0 has no set; it stays as it was counted.
      if (lines.empty()) lines = lines_of(values[v], tested);
      for (const LineCount& count : lines) value.reads.seen += count.lines * count.seen;
      // F is given, so this is a constant; with F = 1 every read of a seen cell fails.
      value.reads.failures = value.reads.seen * static_cast<double>(value.reads.reads);
    }
    const ModelFit own = fit_model(drawn, model, failure, {3.84, 0.05}, false);
    return pearson(classify(drawn, own));
  });
  return goodness;
}

Goodness reads_goodness(const std::vector<std::vector<double>>& histograms, double failure,
                        bool fitted, int64_t replicates, uint64_t seed) {
  check_replicates(replicates);
  struct Class {
    size_t value;
    size_t low, high;  // failures of a cell, less 1
  };
  std::vector<Class> classes;
  std::vector<double> seen(histograms.size());
  for (size_t v = 0; v < histograms.size(); ++v) {
    for (const double cells : histograms[v]) seen[v] += cells;
    const size_t reads = histograms[v].size();
    if (reads < 2 || seen[v] == 0.0) continue;
    const std::vector<double> shares = failure_probabilities(failure, static_cast<int64_t>(reads));
    const size_t first = classes.size();
    double own = 0.0;
    size_t low = 0;
    for (size_t k = 0; k < reads; ++k) {
      own += shares[k] * seen[v];
      if (own < kLeastExpected && k + 1 < reads) continue;
      if (own < kLeastExpected && classes.size() > first) {
        classes.back().high = k;
      } else {
        classes.push_back({v, low, k});
      }
      low = k + 1;
      own = 0.0;
    }
    if (classes.size() == first + 1) classes.pop_back();
  }
  // Two classes of one value meet every F that is fitted to them.
  if (fitted && classes.size() == 2 && classes[0].value == classes[1].value) classes.clear();
  const auto classify = [&](const std::vector<std::vector<double>>& counted, double own) {
    std::vector<GoodnessBin> bins;
    for (const Class& c : classes) {
      const int64_t reads = static_cast<int64_t>(counted[c.value].size());
      const std::vector<double> shares = failure_probabilities(own, reads);
      GoodnessBin bin{c.value,
                      static_cast<double>(reads),
                      static_cast<double>(c.low + 1),
                      static_cast<double>(c.high + 1),
                      0.0,
                      0.0};
      for (size_t k = c.low; k <= c.high; ++k) {
        bin.observed += counted[c.value][k];
        bin.expected += shares[k] * seen[c.value];
      }
      bins.push_back(bin);
    }
    return bins;
  };
  Goodness goodness;
  goodness.bins = classify(histograms, failure);
  if (goodness.bins.empty()) return goodness;
  Random random(seed);
  std::vector<std::vector<double>> shares;
  for (const auto& histogram : histograms) {
    shares.push_back(failure_probabilities(failure, static_cast<int64_t>(histogram.size())));
  }
  bootstrap(goodness, replicates, [&] {
    std::vector<std::vector<double>> drawn;
    std::vector<Reads> reads;
    for (size_t v = 0; v < histograms.size(); ++v) {
      drawn.push_back(draw_multinomial(seen[v], shares[v], random));
      Reads own{static_cast<int64_t>(drawn[v].size()), seen[v], 0.0};
      for (size_t k = 0; k < drawn[v].size(); ++k) {
        own.failures += static_cast<double>(k + 1) * drawn[v][k];
      }
      reads.push_back(own);
    }
    const double own = fitted ? std::max(likeliest_failure(reads), 1e-12) : failure;
    return pearson(classify(drawn, own));
  });
  return goodness;
}

}  // namespace eden
