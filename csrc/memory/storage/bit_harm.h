// What a flip of each bit position does to values that a storage keeps.
#pragma once

#include <vector>

#include "memory/storage/storage.h"

namespace eden {

// By bit position, the lowest first: the mean squared change of a value where that bit flips if it
// stores 0, and if it stores 1. Their sum is that of a bit that flips whatever it stores.
struct BitHarm {
  std::vector<double> zero;
  std::vector<double> one;
};

// Of Gaussian values of variance 1 in a range of three standard deviations (storages without a
// sign: their magnitudes); what is read beyond the range counts as its end. Of a storage whose code
// joins several words, and one that keeps no numbers, positions tell nothing: one stands for all.
BitHarm bit_harm(Storage storage);

}  // namespace eden
