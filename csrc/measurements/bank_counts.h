// Counts of banks by pass. Files mostly have them in ascending order, in which a new one needs no
// search; an index is made for the others only.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "measurements/count_table.h"

namespace eden::measurements {

struct BankCount {
  uint32_t repeat;
  uint32_t bank;
  double errors;
  double cells;   // NaN: not known
  uint64_t line;  // of the file, 0 where it was counted from flips
};

class BankCounts {
 public:
  size_t size() const { return counts_.size(); }
  BankCount& operator[](size_t place) { return counts_[place]; }
  size_t bytes() const { return counts_.capacity() * sizeof(BankCount) + index_.bytes(); }

  // The place of a pass and bank; a new count, of no errors, if there was none.
  size_t place(uint32_t repeat, uint32_t bank);
  // In ascending order of passes and banks.
  std::vector<BankCount> sorted() const;

 private:
  static uint64_t key(uint32_t repeat, uint32_t bank) { return uint64_t{repeat} << 32 | bank; }
  static bool before(const BankCount& a, const BankCount& b) {
    return key(a.repeat, a.bank) < key(b.repeat, b.bank);
  }

  std::vector<BankCount> counts_;  // in the order in which they came
  bool ascending_ = true;
  CountTable index_;  // place + 1 by key, where they did not come in ascending order
};

}  // namespace eden::measurements
