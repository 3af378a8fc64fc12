#include "devices/fit_lines.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <tuple>

#include "base/numerics.h"
#include "base/refusal.h"
#include "devices/fit.h"

namespace eden {
namespace {

// Terms of the sum over weak cells that were not seen, before an integral is less work.
constexpr int kMostTerms = 400;
// Counts up to here are nodes of the interpolation themselves; from here on the distance between
// nodes is a share of the count.
constexpr double kDenseNodes = 64.0;
constexpr double kNodeShare = 32.0;
constexpr size_t kStencil = 8;
// A difference in the logarithm that no sum feels.
constexpr double kNegligible = 38.0;

double log_choose(double n, double k) {
  const double rest = n - k;
  if (k == 0.0 || rest == 0.0) return 0.0;
  const double share = k / n;
  return 0.5 * std::log(n / (k * rest) / (2 * std::numbers::pi)) + stirling_remainder(n) -
         stirling_remainder(k) - stirling_remainder(rest) - k * std::log(share) -
         rest * std::log1p(-share);
}

// The logarithm of the density of ln(P / (1 - P)) at P = p, 1 - P = y.
double log_density(const LineLaw& law, double a, double b, double p, double y) {
  const double sum = 1.0 / law.spread;
  // (a + b) times the divergence of (mean, complement) from (p, y): near the mean without
  // cancellation, far from it with the digits of p and y.
  double divergence;
  const double shift = law.mean < 0.5 ? (law.mean - p) * sum : (y - law.complement) * sum;
  if (std::abs(shift) < 0.5 * std::min(a, b)) {
    divergence = deviance_part(a, shift) + deviance_part(b, -shift);
  } else {
    divergence = a * std::log(law.mean / p) + b * std::log(law.complement / y);
  }
  return 0.5 * std::log(law.mean * law.complement * sum / (2 * std::numbers::pi)) - divergence +
         stirling_remainder(sum) - stirling_remainder(a) - stirling_remainder(b);
}

// The trapezoid rule over ln(P / (1 - P)), whose error vanishes faster than any power of the step
// for such integrands (Trefethen and Weideman, "The exponentially convergent trapezoidal rule",
// SIAM Review 56, 2014). The integrand has one maximum: its derivative times 1 - q P is a quadratic
// in P of opposite signs at 0 and 1.
double log_integral(double cells, double seen, const LineLaw& law, const Seen& q) {
  const double a = law.mean / law.spread, b = law.complement / law.spread;
  const double rest = cells - seen;
  const double square = q.share * (a + b + cells);
  const double linear = a + b + seen + q.share * (a + cells);
  const double constant = a + seen;
  const double root = std::sqrt(std::max(0.0, linear * linear - 4 * square * constant));
  const double mode = 2 * constant / (linear + root);
  // The complement solves the mirrored quadratic.
  const double mirrored = linear - 2 * square;
  const double end = b * q.unseen;
  const double complement_root = std::sqrt(mirrored * mirrored + 4 * square * end);
  const double complement = mirrored > 0.0 ? 2 * end / (mirrored + complement_root)
                                           : (complement_root - mirrored) / (2 * square);
  const double center = std::log(mode) - std::log(complement);
  const double unlike = 1.0 - q.share * mode;
  const double bend =
      mode * complement *
      (a + b + seen +
       rest * q.share * (1.0 - 2.0 * mode + q.share * mode * mode) / (unlike * unlike));
  // Where the law ends within the likelihood's width of P = 1, the integrand turns sharply.
  const double longest = seen > 0.3 * q.share * cells ? 0.15 : 0.4;
  const double step = std::min(longest, 0.75 / std::sqrt(bend));
  const auto value = [&](double t) {
    const double p = inverse_logit(t), y = inverse_logit(-t);
    // 1 - q P, from the side that keeps its digits.
    const double passed =
        q.share * p < 0.5 ? std::log1p(-q.share * p) : std::log(q.unseen + q.share * y);
    return log_density(law, a, b, p, y) + seen * (std::log(q.share) + std::log(p)) +
           (rest > 0.0 ? rest * passed : 0.0);
  };
  const double peak = value(center);
  double sum = 1.0;
  for (const double direction : {-1.0, 1.0}) {
    // Where neither the line's count nor the bend of the law is felt, the integrand is an
    // exponential, whose sum is known.
    const double rate = direction < 0 ? a + seen : b;
    const double felt = direction < 0 ? a + b + cells : a + b + cells / q.unseen;
    for (int i = 1;; ++i) {
      const double t = center + direction * i * step;
      const double fall = value(t) - peak;
      const double term = std::exp(fall);
      if (felt * inverse_logit(-direction * t) < 1e-13) {
        sum += term / -std::expm1(-rate * step);
        break;
      }
      sum += term;
      if (fall < -kNegligible) break;
    }
  }
  return peak + std::log(sum * step);
}

// Weighted counts whose log-likelihoods sum to that of the lines: the lines' own, or, where there
// are more of those than a smooth function of the count needs, nodes of an interpolation.
std::vector<LineCount> nodes_of(std::span<const LineCount> counts, double furthest) {
  const double cells = counts.front().cells;
  const double low = counts.front().seen, high = counts.back().seen;
  std::vector<LineCount> nodes;
  for (double node = low; node < high;) {
    nodes.push_back({cells, node, 0.0});
    const double side = std::min(node, cells - node);
    const double distance = side <= kDenseNodes ? 1.0 : std::floor(side / kNodeShare);
    node = std::min(node + std::max(std::floor(std::min(distance, furthest)), 1.0), high);
  }
  nodes.push_back({cells, high, 0.0});
  if (furthest < kStencil || nodes.size() < kStencil || counts.size() <= nodes.size()) {
    return {counts.begin(), counts.end()};
  }
  // The weights of Lagrange's polynomial through the stencil around each count.
  size_t at = 0;
  for (const LineCount& count : counts) {
    while (at + 1 < nodes.size() && nodes[at + 1].seen <= count.seen) ++at;
    if (nodes[at].seen == count.seen) {
      nodes[at].lines += count.lines;
      continue;
    }
    const size_t before = kStencil / 2 - 1;
    const size_t begin = std::min(at < before ? 0 : at - before, nodes.size() - kStencil);
    for (size_t j = begin; j < begin + kStencil; ++j) {
      double weight = count.lines;
      for (size_t k = begin; k < begin + kStencil; ++k) {
        if (k != j) weight *= (count.seen - nodes[k].seen) / (nodes[j].seen - nodes[k].seen);
      }
      nodes[j].lines += weight;
    }
  }
  return nodes;
}

}  // namespace

std::vector<LineCount> count_lines(const int64_t* cells, const int64_t* seen, const int64_t* times,
                                   size_t counts) {
  std::vector<LineCount> lines(counts);
  for (size_t i = 0; i < counts; ++i) {
    if (!(cells[i] > 0 && seen[i] >= 0 && seen[i] <= cells[i])) {
      refuse("line ", i, " has ", seen[i], " of ", cells[i],
             " cells seen to fail; allowed is 0 to the number of cells, which is above 0");
    }
    lines[i] = {static_cast<double>(cells[i]), static_cast<double>(seen[i]),
                times == nullptr ? 1.0 : static_cast<double>(times[i])};
  }
  const auto key = [](const LineCount& line) { return std::tie(line.cells, line.seen); };
  std::sort(lines.begin(), lines.end(),
            [&](const LineCount& a, const LineCount& b) { return key(a) < key(b); });
  std::vector<LineCount> distinct;
  for (const LineCount& line : lines) {
    if (!distinct.empty() && key(distinct.back()) == key(line)) {
      distinct.back().lines += line.lines;
    } else {
      distinct.push_back(line);
    }
  }
  return distinct;
}

double log_line(double cells, double seen, const LineLaw& law, const Seen& q) {
  const double rest = cells - seen;
  if (cells * law.spread < 1e-15) {
    const double passed = law.mean < 0.5 ? std::log1p(-q.share * law.mean)
                                         : std::log(law.complement + q.unseen * law.mean);
    return (seen > 0.0 ? seen * (std::log(q.share) + std::log(law.mean)) : 0.0) +
           (rest > 0.0 ? rest * passed : 0.0);
  }
  const double all_seen =
      log_beta_binomial_spread({seen, cells}, law.mean, law.complement, law.spread) -
      log_choose(cells, seen) + seen * std::log(q.share);
  if (q.unseen == 0.0) return all_seen;
  // Over the number j of weak cells that were not seen.
  double term = 1.0, sum = 1.0;
  for (int j = 0; j < kMostTerms; ++j) {
    const double left = rest - j;
    if (left < 1.0) return all_seen + std::log(sum);
    const double ratio = left / (j + 1) * q.unseen * (law.mean + law.spread * (seen + j)) /
                         (law.complement + law.spread * (left - 1.0));
    term *= ratio;
    sum += term;
    if (term > 1e280) break;
    if (ratio < 0.9 && term < 1e-17 * sum) return all_seen + std::log(sum);
  }
  return log_integral(cells, seen, law, q);
}

double line_probability(double cells, double seen, const LineLaw& law, const Seen& q) {
  return std::exp(log_line(cells, seen, law, q) + log_choose(cells, seen));
}

LineLikelihood::LineLikelihood(const std::vector<LineCount>& counts) {
  for (size_t first = 0; first < counts.size();) {
    size_t last = first;
    EqualLines group{counts[first].cells, 0.0, {}, {}, {}, {}};
    while (last < counts.size() && counts[last].cells == group.cells) {
      group.lines += counts[last].lines;
      cells_ += counts[last].lines * group.cells;
      seen_ += counts[last].lines * counts[last].seen;
      ++last;
    }
    lines_ += group.lines;
    const double low = counts[first].seen, high = counts[last - 1].seen;
    const std::span<const LineCount> own(&counts[first], last - first);
    group.nodes = nodes_of(own, group.cells);
    // Where q < 1, the likelihood turns at S = q C within the deviation of a binomial.
    group.thinned_nodes = nodes_of(own, std::sqrt(group.cells) / 8.0);
    // A logarithm takes a thirtieth of the time of a count's likelihood.
    const double unseen_first = group.cells - high;
    if (2 * group.cells + high < 30.0 * static_cast<double>(group.nodes.size())) {
      group.unseen_first = static_cast<size_t>(unseen_first);
      group.more_seen.assign(static_cast<size_t>(high), 0.0);
      group.more_unseen.assign(static_cast<size_t>(high - low), 0.0);
      for (size_t i = first; i < last; ++i) {
        const size_t seen = static_cast<size_t>(counts[i].seen);
        const size_t unseen = static_cast<size_t>(group.cells) - seen - group.unseen_first;
        if (seen > 0) group.more_seen[seen - 1] += counts[i].lines;
        if (unseen > 0) group.more_unseen[unseen - 1] += counts[i].lines;
      }
      for (auto* more : {&group.more_seen, &group.more_unseen}) {
        for (size_t i = more->size(); i-- > 1;) (*more)[i - 1] += (*more)[i];
      }
    }
    groups_.push_back(std::move(group));
    first = last;
  }
}

// The rising factorials of the beta-binomial term by term, divided by the powers of a + b, so that
// nothing cancels where the spread vanishes.
double LineLikelihood::beta_binomial(const EqualLines& group, const LineLaw& law) {
  double sum = 0.0;
  for (size_t i = 0; i < group.more_seen.size(); ++i) {
    sum += group.more_seen[i] * std::log(law.mean + static_cast<double>(i) * law.spread);
  }
  double shared = 0.0;
  for (size_t i = 0; i < group.unseen_first; ++i) {
    shared += std::log(law.complement + static_cast<double>(i) * law.spread);
  }
  for (size_t i = 0; i < group.more_unseen.size(); ++i) {
    sum += group.more_unseen[i] *
           std::log(law.complement + static_cast<double>(group.unseen_first + i) * law.spread);
  }
  const size_t cells = static_cast<size_t>(group.cells);
  for (size_t i = 1; i < cells; ++i) shared -= std::log1p(static_cast<double>(i) * law.spread);
  return sum + group.lines * shared;
}

double LineLikelihood::operator()(const LineLaw& law, const Seen& q) const {
  double sum = 0.0;
  for (const EqualLines& group : groups_) {
    if (q.unseen == 0.0 && group.cells * law.spread >= 1e-15 &&
        (!group.more_seen.empty() || !group.more_unseen.empty())) {
      sum += beta_binomial(group, law);
      continue;
    }
    for (const LineCount& node : q.unseen == 0.0 ? group.nodes : group.thinned_nodes) {
      if (node.lines != 0.0) sum += node.lines * log_line(node.cells, node.seen, law, q);
    }
  }
  return sum;
}

}  // namespace eden
