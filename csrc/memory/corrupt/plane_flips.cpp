#include "memory/corrupt/plane_flips.h"

#include <algorithm>
#include <bit>

namespace eden {

simd::PlaneLayout plane_layout(uint32_t plane, int width) {
  simd::PlaneLayout found{};
  found.bits = static_cast<uint32_t>(std::popcount(plane));
  found.width = static_cast<uint32_t>(width);
  found.inverse = (uint32_t{1} << 31) / found.bits + 1;
  uint32_t first = 0;
  for (uint32_t bit = 0; bit < 32; ++bit) {
    if ((plane >> bit & 1) == 0) continue;
    if (bit == 0 || (plane >> (bit - 1) & 1) == 0) found.run[found.runs++] = {first, bit - first};
    ++first;
  }
  return found;
}

PlaneFlips::PlaneFlips(int64_t patches, uint64_t chunk_elements)
    : patches_(2 * static_cast<size_t>(patches)), chunk_log2_(std::countr_zero(chunk_elements)) {}

PlaneFlips::Cells PlaneFlips::of(int64_t which, bool stored, int64_t chunk) const {
  const OfPatch& patch = patches_[2 * static_cast<size_t>(which) + stored];
  const int64_t at = chunk - patch.first_chunk;
  if (at < 0 || at + 1 >= static_cast<int64_t>(patch.begin.size())) return {nullptr, 0};
  const uint32_t begin = patch.begin[static_cast<size_t>(at)];
  return {patch.cell.data() + begin, patch.begin[static_cast<size_t>(at) + 1] - begin};
}

void JoinedFlips::clear() {
  const size_t words = (bits_ + 63) / 64;
  if (dense_) {
    std::fill_n(zero_.begin(), words, 0);
    std::fill_n(one_.begin(), words, 0);
    return;
  }
  for (const OwnedCells& cells : cells_) clear_cells(cells, words, zero_.data(), one_.data());
}

void JoinedFlips::begin(const simd::Kernels& kernels, uint64_t bits, bool symmetric) {
  clear();
  kernels_ = &kernels;
  listed_.clear();
  masked_ = dense_ = false;
  symmetric_ = symmetric;
  cells_[0].size = cells_[1].size = 0;
  bits_ = bits;
  const size_t words = bits / 64 + 1 + kSpareWords;
  if (zero_.size() < words) zero_.resize(words), one_.resize(words);
}

void JoinedFlips::add(const simd::PlaneLayout& plane, const PlaneFlips::Cells& cells, bool stored,
                      int64_t up) {
  if (up == 0) return kernels_->cells_of_words(plane, 0, cells.cell, cells.size, cells_[stored]);
  static thread_local std::vector<uint32_t> moved;
  moved.clear();
  for (size_t i = 0; i < cells.size; ++i) {
    const int64_t bit = int64_t{cells.cell[i] >> 1} + up;
    if (bit < 0 || static_cast<uint64_t>(bit) >= bits_) continue;
    moved.push_back(2 * static_cast<uint32_t>(bit) + (cells.cell[i] & 1));
  }
  kernels_->cells_of_words(plane, 0, moved.data(), moved.size(), cells_[stored]);
}

void JoinedFlips::add(const simd::PlaneLayout& plane, PatchFlips& found, size_t bits,
                      uint32_t lead) {
  if (!found.dense()) {
    const int strong = found.strong_one() ? 1 : 0;
    const simd::FoundCells &cells = found.cells(), &weaker = found.weaker();
    kernels_->cells_of_words(plane, lead, cells.cell, cells.size, cells_[strong]);
    kernels_->cells_of_words(plane, lead, weaker.cell, weaker.size, cells_[1 - strong]);
    return;
  }
  found.join_masks();
  add_mask(plane, found.zero(0), bits, lead, zero_);
  if (!symmetric_) add_mask(plane, found.one(0), bits, lead, one_);
  dense_ = true;
}

void JoinedFlips::add_mask(const simd::PlaneLayout& plane, const uint64_t* of_plane, size_t bits,
                           uint32_t lead, std::vector<uint64_t>& mask) {
  if (lead != 0) {
    // Moved up to where the chunk has them.
    const size_t skipped = lead / 64, by = lead % 64, words = (bits + 63) / 64;
    moved_.assign(skipped + words + 1 + kSpareWords, 0);
    for (size_t w = 0; w < words; ++w) {
      moved_[skipped + w] |= of_plane[w] << by;
      moved_[skipped + w + 1] = (of_plane[w] >> 1) >> (63 - by);
    }
    of_plane = moved_.data();
  }
  const size_t elements = (lead + bits + plane.bits - 1) / plane.bits;
  kernels_->mask_of_words(plane, of_plane, (elements * plane.width + 63) / 64, mask.data());
}

size_t JoinedFlips::join() {
  join_cells(cells_[1], symmetric_, zero_.data(), one_.data());
  join_cells(cells_[0], symmetric_, symmetric_ ? zero_.data() : one_.data(), zero_.data());
  return cells_[0].size + cells_[1].size;
}

void JoinedFlips::end(uint64_t address, uint64_t width, bool listable) {
  const size_t size = join();
  if (size == 0 && !dense_) return;
  masked_ = dense_ || !listable || size * kCellsPerFlipInList >= bits_;
  if (masked_) return;
  const uint64_t field = (uint64_t{1} << width) - 1;
  for (const OwnedCells& cells : cells_) {
    for (size_t i = 0; i < cells.size; ++i) {
      const uint64_t first = (cells.cell[i] >> 1) / width * width;
      const uint64_t word = first / 64, shift = first % 64;
      const uint64_t zero = (zero_[word] >> shift) & field;
      const uint64_t one = symmetric_ ? zero : (one_[word] >> shift) & field;
      if ((zero | one) == 0) continue;  // an element taken before
      listed_.push_back({address + first, static_cast<uint32_t>(zero), static_cast<uint32_t>(one)});
      zero_[word] &= ~(field << shift);
      if (!symmetric_) one_[word] &= ~(field << shift);
    }
  }
}

}  // namespace eden
