// The number of marks from a head's high word by comparison with one word of the table after
// another, for lanes that cannot look a table up: included after them.
#pragma once

#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

// How many of the table's high words are less than `high`; `tie` where the low words, or more of
// the table, have to be asked.
EDEN_LANES Words count_by_high_words(Words high, Mask& tie) {
  constexpr int kCompared = 20;  // one block in ten thousand has more marks
  Words count = broadcast(0);
  tie = at_most(broadcast(kPoissonHigh.word[kCompared]), high);
  EDEN_UNROLL(20)
  for (int i = 0; i < kCompared; ++i) {
    const Words word = broadcast(kPoissonHigh.word[i]);
    count = add_one(count, less(word, high));
    tie = either(tie, equal(word, high));
  }
  return count;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE
