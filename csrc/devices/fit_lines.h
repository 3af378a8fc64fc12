// Likelihoods of the cells that fail along lines, each line with a probability of its own.
//
// A line's cells are weak with probability P, which varies over lines as a Beta variable of mean m
// and intra-class correlation rho: a = m / r, b = (1 - m) / r, r = rho / (1 - rho). Of a weak
// cell's n reads at least one fails with probability q = 1 - (1 - F)^n. A line of C cells of which
// S are seen has the likelihood E[(q P)^S (1 - q P)^(C - S)]; with q = 1 that is the
// beta-binomial's (Skellam 1948) without its binomial coefficient: the likelihood is that of which
// cells failed, so that models that count the same failures along different lines are compared on
// the same data.
//
// The likelihood of many lines needs no more than how many of them have which counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace eden {

// Lines that have the same counts.
struct LineCount {
  double cells;
  double seen;
  double lines;
};

// The lines of each pair of counts, by cells and then by cells seen; `times` says how many lines
// have each count, one if it is null. Throws std::invalid_argument naming the line unless 0 <= seen
// <= cells and cells > 0.
std::vector<LineCount> count_lines(const int64_t* cells, const int64_t* seen, const int64_t* times,
                                   size_t counts);

// The share of weak cells that are seen, and its complement, each precise where it is small.
struct Seen {
  double share;   // q = 1 - (1 - F)^n
  double unseen;  // (1 - F)^n
};

// The law of P over lines. The complement of the mean is apart, to be precise where it is small.
struct LineLaw {
  double mean;
  double complement;
  double spread;  // r = 1 / (a + b); 0 where all lines are alike
};

// ln E[(q P)^S (1 - q P)^(C - S)] of one line.
double log_line(double cells, double seen, const LineLaw& law, const Seen& q);

// The same with the binomial coefficient: the probability that S of the line's C cells are seen.
double line_probability(double cells, double seen, const LineLaw& law, const Seen& q);

class LineLikelihood {
 public:
  explicit LineLikelihood(const std::vector<LineCount>& counts);

  double operator()(const LineLaw& law, const Seen& q) const;

  double cells() const { return cells_; }
  double seen() const { return seen_; }
  double lines() const { return lines_; }

 private:
  struct EqualLines {
    double cells;
    double lines;
    // Weighted counts that stand for the lines' own: where q = 1, and where it is less.
    std::vector<LineCount> nodes;
    std::vector<LineCount> thinned_nodes;
    // Lines with more than i cells seen, for i from 0; and with more than unseen_first + i not
    // seen, which all lines have below unseen_first. Empty where going through the nodes is less
    // work.
    std::vector<double> more_seen;
    std::vector<double> more_unseen;
    size_t unseen_first = 0;
  };

  static double beta_binomial(const EqualLines& group, const LineLaw& law);

  std::vector<EqualLines> groups_;
  double cells_ = 0.0, seen_ = 0.0, lines_ = 0.0;
};

}  // namespace eden
