// The flips of an operand in planes, gathered as bits of its words, which then pass once.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "memory/corrupt/flips.h"

namespace eden {

// Where the bits of a plane, by their mask, lie in words of `width` bits.
simd::PlaneLayout plane_layout(uint32_t plane, int width);

// Flips in bitlines, which are found for whole subarrays, before elements pass: those of each patch
// by the chunk of words that they are in, so many elements, a power of two. Those that flip for a
// stored 0 alone are apart from the others.
class PlaneFlips {
 public:
  PlaneFlips(int64_t patches, uint64_t chunk_elements);

  // Takes those of a patch of a plane with so many bits in a word, patches in any order by any
  // number of threads: of(i) is the number of the plane's bit from bit `first` on, below `end`,
  // times two, plus one if it flips for one value alone, which `stored` says then.
  template <class Of>
  void enter(int64_t which, bool stored, uint32_t plane_bits, uint64_t first, uint32_t end,
             size_t size, Of&& of);

  // Of a plane with so many bits in a word: those of a chunk.
  uint64_t chunk_bits(uint64_t plane_bits) const { return plane_bits << chunk_log2_; }

  struct Cells {
    const uint32_t* cell;  // likewise, its number among the plane's bits in the chunk
    size_t size;
  };
  Cells of(int64_t which, bool stored, int64_t chunk) const;

 private:
  struct OfPatch {
    int64_t first_chunk = 0;
    std::vector<uint32_t> begin;  // by chunk, and where the last one ends
    std::vector<uint32_t> cell;
  };
  std::vector<OfPatch> patches_;  // two of each
  int chunk_log2_;
};

// What a thread keeps of one chunk: all of its flips, as PatchFlips has those of a patch.
class JoinedFlips {
 public:
  JoinedFlips() = default;
  JoinedFlips(const JoinedFlips&) = delete;
  JoinedFlips& operator=(const JoinedFlips&) = delete;

  // `symmetric` says that each bit flips whatever it stores, if it does.
  void begin(const simd::Kernels& kernels, uint64_t bits, bool symmetric);
  // `stored` is the value that those flip for which are marked to do so for one alone.
  // They lie so many places up, or down, and those below 0 or from the last bit on are left out.
  void add(const simd::PlaneLayout& plane, const PlaneFlips::Cells& cells, bool stored,
           int64_t up = 0);
  // What was gathered for so many of the plane's bits from bit `lead` of the chunk on.
  void add(const simd::PlaneLayout& plane, PatchFlips& found, size_t bits, uint32_t lead);
  // For words of `width` bits, the first at this address; as masks even where flips are few, if a
  // list of elements is not `listable`.
  void end(uint64_t address, uint64_t width, bool listable);

  // Instead of the end, for whoever makes something else of them: joins the found cells, of which
  // it returns the number, with the masks.
  size_t join();
  bool dense() const { return dense_; }
  bool symmetric() const { return symmetric_; }
  std::array<const simd::FoundCells*, 2> found() const { return {&cells_[0], &cells_[1]}; }
  // Of a mask the bytes: of cells that store 1, if `stored`, where that is not the same.
  uint8_t* bytes(bool stored) { return reinterpret_cast<uint8_t*>((stored ? one_ : zero_).data()); }
  // The masks were cleared.
  void taken() { cells_[0].size = cells_[1].size = 0; }

  bool masked() const { return masked_; }
  const std::vector<FlippedElement>& listed() const { return listed_; }
  const uint64_t* zero(uint32_t) const { return zero_.data(); }
  const uint64_t* one(uint32_t) const { return (symmetric_ ? zero_ : one_).data(); }

 private:
  void clear();
  void add_mask(const simd::PlaneLayout& plane, const uint64_t* of_plane, size_t bits,
                uint32_t lead, std::vector<uint64_t>& mask);

  const simd::Kernels* kernels_ = nullptr;
  bool masked_ = false;
  bool dense_ = false;  // whether the masks hold more than the cells
  bool symmetric_ = true;
  uint64_t bits_ = 0;
  // Those that flip for one value alone, if they are marked so, do so where they store 0, and 1.
  OwnedCells cells_[2];
  std::vector<uint64_t> zero_, one_, moved_;
  std::vector<FlippedElement> listed_;
};

template <class Of>
void PlaneFlips::enter(int64_t which, bool stored, uint32_t plane_bits, uint64_t first,
                       uint32_t end, size_t size, Of&& of) {
  OfPatch& patch = patches_[2 * static_cast<size_t>(which) + stored];
  const uint64_t chunk_bits = uint64_t{plane_bits} << chunk_log2_;
  patch.first_chunk = static_cast<int64_t>(first / chunk_bits);
  const auto lead = static_cast<uint32_t>(first % chunk_bits);
  // By the rounded-up inverse, which is exact.
  const uint64_t inverse = (uint64_t{1} << 32) / plane_bits + 1;
  const int log2 = chunk_log2_;
  const auto chunk_of = [=](uint32_t bit) {
    return static_cast<uint32_t>(((bit >> log2) * inverse) >> 32);
  };
  patch.begin.assign(chunk_of(lead + end) + 3, 0);
  patch.cell.resize(size);
  // The begin of each chunk's, moved on by two places while they are counted and then entered.
  uint32_t *const counts = patch.begin.data() + 2, *const cells = patch.cell.data();
  for (size_t i = 0; i < size; ++i) ++counts[chunk_of(lead + (of(i) >> 1))];
  for (size_t c = 1; c < patch.begin.size(); ++c) patch.begin[c] += patch.begin[c - 1];
  for (size_t i = 0; i < size; ++i) {
    const uint32_t entry = of(i), bit = lead + (entry >> 1), chunk = chunk_of(bit);
    cells[counts[static_cast<int64_t>(chunk) - 1]++] =
        2 * (bit - chunk * static_cast<uint32_t>(chunk_bits)) + (entry & 1);
  }
}

}  // namespace eden
