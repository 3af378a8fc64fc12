// A region: the part of a memory that one operand is read from, and how its cells fail, as the
// integers that every backend compares with. Rates become thresholds once, on the host, so that no
// backend rounds a logarithm its own way.
#pragma once

#include <array>
#include <cstdint>

#include "core/platform.h"

namespace eden {

// The marks of weak cells form a Poisson process over cells x [0, infinity): a cell is weak at rate
// P if a mark of its own lies below v = -ln(1 - P). Marks below 2^-kFirstLevel are drawn sparsely,
// one level per octave, at a cost proportional to their number: level l holds those in [2^-(l+1),
// 2^-l), the last one all below 2^-kLastLevel. What lies above is dense: one Bernoulli variable per
// cell, joined as a union.
inline constexpr int kFirstLevel = 4;
inline constexpr int kLastLevel = 29;

// A threshold on sparse marks: octave from below in the high half, position inside it in the low
// half, so codes are in the order of the marks.
inline constexpr int kCodeOctaveShift = 32;
inline constexpr uint64_t kMaxSparseCode = static_cast<uint64_t>(kLastLevel - kFirstLevel + 1)
                                           << kCodeOctaveShift;

// A 64-bit fraction whose largest value stands for 1.
inline constexpr uint64_t kAlways = ~uint64_t{0};

enum class Correction : int64_t { kNone = 0, kZero = 1, kClamp = 2 };

// The fields of the int64 vector that carries a region to the operators.
enum RegionField : int {
  kSparseZero = 0,  // threshold on the sparse marks of a cell that stores 0
  kSparseOne = 1,
  kDenseZero = 2,  // probability of the dense part for a cell that stores 0
  kDenseOne = 3,
  kFailure = 4,     // probability that a weak cell's read is inverted
  kAddress = 5,     // first bit of the operand
  kCorrection = 6,  // a Correction
  kRegionFields = 7,
};

struct Region {
  uint64_t sparse[2];  // by stored value
  uint64_t dense[2];
  uint64_t failure;
  uint64_t address;
  Correction correction;
};

EDEN_HOST_DEVICE inline Region unpack_region(const int64_t* fields) {
  Region region;
  region.sparse[0] = static_cast<uint64_t>(fields[kSparseZero]);
  region.sparse[1] = static_cast<uint64_t>(fields[kSparseOne]);
  region.dense[0] = static_cast<uint64_t>(fields[kDenseZero]);
  region.dense[1] = static_cast<uint64_t>(fields[kDenseOne]);
  region.failure = static_cast<uint64_t>(fields[kFailure]);
  region.address = static_cast<uint64_t>(fields[kAddress]);
  region.correction = static_cast<Correction>(fields[kCorrection]);
  return region;
}

// The region of Models 0 and 3: a cell storing v is weak with probability ber_v / failure, its
// reads then fail with probability failure. Throws std::invalid_argument for a rate outside [0,
// failure] or a failure outside (0, 1].
std::array<int64_t, kRegionFields> make_region(double ber_zero, double ber_one, double failure,
                                               uint64_t address, Correction correction);

}  // namespace eden
