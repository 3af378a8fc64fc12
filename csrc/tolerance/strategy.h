// How a search finds limits: a course of decisions, and what a search under way asks about it.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "tolerance/course.h"
#include "tolerance/run.h"

namespace eden {

class Strategy {
 public:
  virtual ~Strategy() = default;

  // What the search ends with.
  virtual Course<SearchState> course() = 0;

  // Observations after which the decision at hand is made at the latest.
  virtual int64_t longest() const = 0;
  // Where the rate that is sought is believed to be.
  virtual std::pair<double, double> interval() const = 0;
  // A guess at the reports that are left.
  virtual double expected(double effort) const = 0;

  // Under a budget: called when it changes; whether nothing more can come of what is left; whether
  // what is left is what a confirmation takes; whether rates are confirmed that are an answer
  // without the test at hand; the attempt at a confirmation that is made or comes next.
  virtual void plan() {}
  virtual bool hopeless() const { return false; }
  virtual bool short_of_budget() const { return false; }
  virtual bool holds_confirmed() const { return false; }
  virtual int64_t attempt() const { return 1; }
};

std::unique_ptr<Strategy> make_shares(Run& run);
std::unique_ptr<Strategy> make_sweep(Run& run);

}  // namespace eden
