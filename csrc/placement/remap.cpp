#include "placement/remap.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/refusal.h"

namespace eden {
namespace {

// Rounds of moving every operand, from each of two beginnings; each moves fewer than the last.
constexpr int kRounds = 4;

int64_t units_of(uint64_t bits, uint64_t unit_bits) {
  return static_cast<int64_t>((bits + unit_bits - 1) / unit_bits);
}

struct Rotated {
  double harm;
  uint8_t rotation;
};

// The weak cells as operands of one form meet them.
class FormHarm {
 public:
  FormHarm(const std::vector<WeakCell>& cells, uint64_t unit_bits, const WordForm& form)
      : cells_(cells), unit_bits_(unit_bits), form_(form), sum_{0.0} {
    for (size_t first = 0; first < cells.size();) {
      const auto unit = static_cast<int64_t>(cells[first].bit / unit_bits);
      size_t end = first;
      while (end < cells.size() && static_cast<int64_t>(cells[end].bit / unit_bits) == unit) ++end;
      unit_.push_back(unit);
      first_.push_back(first);
      sum_.push_back(sum_.back() + best(first, end).harm);
      first = end;
    }
    first_.push_back(cells.size());
  }

  // Of a unit's first bits, the best rotation.
  Rotated of_unit(int64_t unit, uint64_t bits) const {
    const auto [first, end] = cells_of(unit, bits);
    return best(first, end);
  }
  double as_it_is(int64_t unit, uint64_t bits) const {
    const auto [first, end] = cells_of(unit, bits);
    return harm(first, end, 0);
  }

  // Of a whole operand that begins with a unit.
  double of(int64_t unit, uint64_t bits) const {
    const auto whole = static_cast<int64_t>(bits / unit_bits_);
    const uint64_t rest = bits % unit_bits_;
    const double found = sum_[place(unit + whole)] - sum_[place(unit)];
    return found + (rest == 0 ? 0.0 : of_unit(unit + whole, rest).harm);
  }

 private:
  size_t place(int64_t unit) const {
    return static_cast<size_t>(std::lower_bound(unit_.begin(), unit_.end(), unit) - unit_.begin());
  }
  std::pair<size_t, size_t> cells_of(int64_t unit, uint64_t bits) const {
    const size_t at = place(unit);
    if (at == unit_.size() || unit_[at] != unit) return {0, 0};
    const uint64_t last = static_cast<uint64_t>(unit) * unit_bits_ + bits;
    size_t end = first_[at];
    while (end < first_[at + 1] && cells_[end].bit < last) ++end;
    return {first_[at], end};
  }
  double harm(size_t first, size_t end, uint64_t rotation) const {
    const uint64_t width = form_.width();
    double found = 0.0;
    for (size_t i = first; i < end; ++i) {
      const uint64_t bit = (cells_[i].bit + width - rotation) % width;
      found += (cells_[i].zero ? form_.zero[bit] : 0.0) + (cells_[i].one ? form_.one[bit] : 0.0);
    }
    return found;
  }
  Rotated best(size_t first, size_t end) const {
    Rotated found{harm(first, end, 0), 0};
    for (uint64_t rotation = 1; rotation < form_.width() && found.harm > 0.0; ++rotation) {
      const double other = harm(first, end, rotation);
      if (other < found.harm) found = {other, static_cast<uint8_t>(rotation)};
    }
    return found;
  }

  const std::vector<WeakCell>& cells_;
  uint64_t unit_bits_;
  const WordForm& form_;
  std::vector<int64_t> unit_;  // those with weak cells
  std::vector<size_t> first_;  // of their cells
  std::vector<double> sum_;    // harm of all before
};

class Search {
 public:
  Search(const std::vector<FormHarm>& harm, uint64_t capacity_bits, uint64_t unit_bits,
         const std::vector<RemapOperand>& operands, int64_t windows)
      : harm_(harm), operands_(operands) {
    for (const RemapOperand& one : operands) {
      length_.push_back(units_of(one.bits, unit_bits));
      last_.push_back(static_cast<int64_t>((capacity_bits - one.bits) / unit_bits));
    }
    // Of one operand in one round.
    const auto looks = static_cast<int64_t>(operands.size()) * (2 * kRounds + 1);
    windows_ = std::max<int64_t>(1, windows / std::max<int64_t>(1, looks));
  }

  double harm(size_t k, int64_t unit) const {
    return operands_[k].weight * harm_[operands_[k].form].of(unit, operands_[k].bits);
  }
  double harm(const std::vector<int64_t>& places) const {
    double found = 0.0;
    for (size_t k = 0; k < places.size(); ++k) found += harm(k, places[k]);
    return found;
  }

  // All placed anew, the largest first; nothing where one of them finds no room.
  std::optional<std::vector<int64_t>> anew() const {
    std::vector<size_t> order(operands_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return length_[a] > length_[b]; });
    std::vector<int64_t> places(operands_.size(), kNowhere);
    for (const size_t k : order) {
      if (!move(k, places)) return std::nullopt;
    }
    return places;
  }

  void improve(std::vector<int64_t>& places) const {
    for (int round = 0; round < kRounds; ++round) {
      bool moved = false;
      for (size_t k = 0; k < places.size(); ++k) moved |= move(k, places);
      if (!moved) return;
    }
  }

 private:
  static constexpr int64_t kNowhere = -1;

  // Moves an operand to the best of the free places that are looked at; whether it moved.
  bool move(size_t k, std::vector<int64_t>& places) const {
    std::vector<std::pair<int64_t, int64_t>> taken;
    for (size_t other = 0; other < places.size(); ++other) {
      if (other != k && places[other] != kNowhere) {
        taken.emplace_back(places[other], places[other] + length_[other]);
      }
    }
    std::sort(taken.begin(), taken.end());
    const int64_t end_of_all = last_[k] + length_[k];
    taken.emplace_back(end_of_all, end_of_all);
    std::vector<std::pair<int64_t, int64_t>> free;  // first units from, to and with
    int64_t begin = 0, choices = 0;
    for (const auto& [first, end] : taken) {
      const int64_t last = std::min(first - length_[k], last_[k]);
      if (last >= begin) {
        free.emplace_back(begin, last);
        choices += free.back().second - begin + 1;
      }
      begin = end;
    }
    const int64_t stride = (choices + windows_ - 1) / windows_;
    int64_t best = places[k];
    double least = best == kNowhere ? 0.0 : harm(k, best);
    for (const auto& [from, to] : free) {
      for (int64_t unit = from; unit <= to && !(best != kNowhere && least == 0.0); unit += stride) {
        const double found = harm(k, unit);
        if (best == kNowhere || found < least) best = unit, least = found;
      }
    }
    const bool moved = best != places[k];
    places[k] = best;
    return moved;
  }

  const std::vector<FormHarm>& harm_;
  const std::vector<RemapOperand>& operands_;
  std::vector<int64_t> length_, last_;  // in units, and the last unit that each can begin with
  int64_t windows_;
};

void check(const std::vector<WeakCell>& cells, uint64_t capacity_bits, uint64_t unit_bits,
           const std::vector<WordForm>& forms, const std::vector<RemapOperand>& operands) {
  if (unit_bits == 0) refuse_value("the size of a unit", unit_bits, "1 bit or more");
  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].bit >= capacity_bits) {
      refuse_value("a weak cell", cells[i].bit, "below ", capacity_bits);
    }
    if (i > 0 && cells[i].bit <= cells[i - 1].bit) refuse("weak cells are not in ascending order");
  }
  for (const WordForm& form : forms) {
    if (form.width() == 0 || form.width() > 256 || form.one.size() != form.width() ||
        unit_bits % form.width() != 0) {
      refuse_value("the width of a word", form.width(), "a divisor of ", unit_bits, " up to 256");
    }
  }
  std::vector<std::pair<int64_t, int64_t>> taken;
  for (const RemapOperand& one : operands) {
    if (one.form >= forms.size()) refuse_value("a form", one.form, "below ", forms.size());
    if (one.unit < 0 || one.bits > capacity_bits ||
        static_cast<uint64_t>(one.unit) > (capacity_bits - one.bits) / unit_bits) {
      refuse("an operand of ", one.bits, " bits begins with unit ", one.unit, "; there are ",
             capacity_bits, " bits");
    }
    taken.emplace_back(one.unit, one.unit + units_of(one.bits, unit_bits));
  }
  std::sort(taken.begin(), taken.end());
  for (size_t i = 1; i < taken.size(); ++i) {
    if (taken[i].first < taken[i - 1].second) refuse("operands overlap at unit ", taken[i].first);
  }
}

}  // namespace

Remap remap(const std::vector<WeakCell>& cells, uint64_t capacity_bits, uint64_t unit_bits,
            const std::vector<WordForm>& forms, const std::vector<RemapOperand>& operands,
            int64_t windows) {
  check(cells, capacity_bits, unit_bits, forms, operands);
  std::vector<FormHarm> harm;
  for (const WordForm& form : forms) harm.emplace_back(cells, unit_bits, form);
  const Search search(harm, capacity_bits, unit_bits, operands, windows);
  std::vector<int64_t> given;
  for (const RemapOperand& one : operands) given.push_back(one.unit);
  std::vector<int64_t> places = given;
  search.improve(places);
  if (auto anew = search.anew()) {
    search.improve(*anew);
    if (search.harm(*anew) < search.harm(places)) places = *anew;
  }
  // What differences of sums say is rounded; these are the harms themselves, unit by unit.
  const auto rotated = [&](const std::vector<int64_t>& at) {
    Remap found{at, {}, 0.0, 0.0};
    for (size_t k = 0; k < operands.size(); ++k) {
      const RemapOperand& one = operands[k];
      std::vector<uint8_t> rotations;
      for (uint64_t bit = 0; bit < one.bits; bit += unit_bits) {
        const auto unit = static_cast<int64_t>(bit / unit_bits);
        const uint64_t bits = std::min(unit_bits, one.bits - bit);
        const Rotated best = harm[one.form].of_unit(at[k] + unit, bits);
        rotations.push_back(best.rotation);
        found.after += one.weight * best.harm;
        found.before += one.weight * harm[one.form].as_it_is(given[k] + unit, bits);
      }
      found.rotations.push_back(std::move(rotations));
    }
    return found;
  };
  Remap moved = rotated(places), stayed = rotated(given);
  return moved.after < stayed.after ? moved : stayed;
}

}  // namespace eden
