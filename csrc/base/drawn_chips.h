// The chips that a run draws: their numbers, which say what they are drawn for.
#pragma once

#include "base/random_layout.h"

namespace eden {

// Of the numbers that derive_chip gives; what draws chips and is gone on with records it.
inline constexpr int kDrawnChipsVersion = 2;

// Why a chip is drawn. The highest bits of its number say it, so that chips of different purposes
// differ whatever they were drawn from. Those bits of a small number, counted from 0 or back from
// it, say none: such chips are named by hand.
enum class ChipPurpose : uint32_t {
  kTraining = 1,
  kSearch = 2,        // decides between the rates of a search
  kConfirmation = 3,  // certifies what a search has found
  kSteering = 4,      // decides how a verification bets
  kVerification = 5,  // certifies a network as it is placed
  kEvaluation = 6,    // shows accuracy
  kCurves = 7,        // shows accuracy against the bit error rate
};
inline constexpr const char* kChipPurposes[] = {
    "", "training", "search", "confirmation", "steering", "verification", "evaluation", "curves"};

inline constexpr int kChipBits = 60;  // below those of the purpose
inline constexpr uint64_t kChips = uint64_t{1} << kChipBits;

// The seed of the index-th chip, index < kChips, that a run with this seed draws for a purpose. A
// Feistel network of four rounds keyed by seed and purpose (Luby and Rackoff 1988) permutes the
// indices, so the chips of one seed differ; a chip of one seed is a given one of another with a
// probability of 2^-60.
inline uint64_t derive_chip(uint64_t seed, ChipPurpose purpose, uint64_t index) {
  constexpr int kHalf = kChipBits / 2;
  constexpr uint32_t kHalfMask = (uint32_t{1} << kHalf) - 1;
  const uint32_t of = static_cast<uint32_t>(purpose);
  uint32_t left = static_cast<uint32_t>(index >> kHalf) & kHalfMask;
  uint32_t right = static_cast<uint32_t>(index) & kHalfMask;
  for (uint32_t round = 0; round < 4; ++round) {
    const uint32_t mixed = left ^ (draw(seed, Stream::kChip, round, right, of).word[0] & kHalfMask);
    left = right;
    right = mixed;
  }
  return (static_cast<uint64_t>(of) << kChipBits) | (static_cast<uint64_t>(left) << kHalf) | right;
}

constexpr const char* name_of(ChipPurpose purpose) {
  return kChipPurposes[static_cast<uint32_t>(purpose)];
}

// The name of the purpose that a chip's number was drawn for; empty for one named by hand.
constexpr const char* purpose_of(uint64_t chip) {
  const uint64_t of = chip >> kChipBits;
  return of < sizeof kChipPurposes / sizeof *kChipPurposes ? kChipPurposes[of] : "";
}

}  // namespace eden
