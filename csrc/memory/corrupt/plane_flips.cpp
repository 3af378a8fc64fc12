#include "memory/corrupt/plane_flips.h"

#include <algorithm>

namespace eden {
namespace {

// Clearing the words of flips one by one costs as much as clearing so many in a row.
constexpr size_t kWordsClearedPerFlip = 8;

}  // namespace

void JoinedFlips::clear() {
  const size_t words = (cells_ + 63) / 64;
  const auto of = [&](std::vector<uint64_t>& masks) {
    if (size_ * kWordsClearedPerFlip < words) {
      for (size_t i = 0; i < size_; ++i) masks[bits_[i] / 64] = 0;
    } else {
      std::fill_n(masks.begin(), words, 0);
    }
  };
  if (size_ == 0) return;
  of(zero_);
  if (!symmetric_) of(one_);
}

void JoinedFlips::begin(uint64_t bits, bool symmetric) {
  clear();
  listed_.clear();
  masked_ = false;
  symmetric_ = symmetric;
  size_ = 0;
  cells_ = bits;
  const size_t words = bits / 64 + 1 + kSpareWords;
  if (zero_.size() < words) zero_.resize(words), one_.resize(words);
}

void JoinedFlips::end(uint64_t address, uint64_t width, bool listable) {
  masked_ = size_ != 0 && !(listable && size_ * kCellsPerFlipInList < cells_);
  if (masked_) return;
  const uint64_t field = (uint64_t{1} << width) - 1;
  for (size_t i = 0; i < size_; ++i) {
    const uint64_t first = bits_[i] / width * width, word = first / 64, shift = first % 64;
    const uint64_t zero = (zero_[word] >> shift) & field;
    const uint64_t one = symmetric_ ? zero : (one_[word] >> shift) & field;
    if ((zero | one) == 0) continue;  // an element taken before
    listed_.push_back({address + first, static_cast<uint32_t>(zero), static_cast<uint32_t>(one)});
    zero_[word] &= ~(field << shift);
    if (!symmetric_) one_[word] &= ~(field << shift);
  }
}

}  // namespace eden
