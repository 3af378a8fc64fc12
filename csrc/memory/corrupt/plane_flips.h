// The flips of an operand in planes: found plane by plane, each in patches of its own cells, and
// gathered by the elements that they hit, whose words then pass once.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "memory/corrupt/kept_flips.h"

namespace eden {

class PlaneFlips {
 public:
  // Gathered in `chunks` runs of `chunk_elements` elements of `width` bits.
  PlaneFlips(int64_t chunks, uint64_t chunk_elements, uint64_t width)
      : chunks_(static_cast<size_t>(chunks)), chunk_elements_(chunk_elements), width_(width) {}

  // Enters what was found of one patch of a plane; several threads may, each patch once.
  // `first_bit` is the plane's at `address`; cells outside of [begin, end) are not the operand's.
  template <class Flips>
  void enter(uint32_t plane, uint64_t first_bit, uint64_t address, const PatchGrid& grid,
             const Patch& patch, const Flips& flips);

  // The flips of a chunk as bits of its words, whose cells are numbered as if they began at 0;
  // after all have been entered.
  const std::vector<FlippedElement>& chunk(int64_t which) const;

 private:
  struct Chunk {
    std::mutex entering;
    mutable std::once_flag joined;
    mutable std::vector<FlippedElement> flips;
  };
  std::vector<Chunk> chunks_;
  uint64_t chunk_elements_;
  uint64_t width_;
};

template <class Flips>
void PlaneFlips::enter(uint32_t plane, uint64_t first_bit, uint64_t address, const PatchGrid& grid,
                       const Patch& patch, const Flips& flips) {
  const uint64_t bits = plane_bits(plane, width_);
  uint8_t position[32];
  for (size_t i = 0; plane != 0; plane &= plane - 1) {
    position[i++] = static_cast<uint8_t>(__builtin_ctz(plane));
  }
  // Of the chunk that was entered last, which the next cell mostly is of, too.
  std::unique_lock<std::mutex> lock;
  std::vector<FlippedElement>* into = nullptr;
  uint64_t first = 0, end = 0;
  const auto enter_cell = [&](uint64_t cell, uint32_t zero, uint32_t one) {
    if (cell < grid.begin || cell >= grid.end) return;
    const uint64_t bit = cell - address + first_bit;
    const uint64_t element = bit / bits;
    const uint8_t shift = position[bit - element * bits];
    if (element < first || element >= end) {
      const uint64_t which = element / chunk_elements_;
      Chunk& chunk = chunks_[which];
      lock = {};  // never two at a time
      lock = std::unique_lock(chunk.entering);
      into = &chunk.flips;
      first = which * chunk_elements_, end = first + chunk_elements_;
    }
    into->push_back({element * width_, zero << shift, one << shift});
  };
  for (const FlippedElement& cell : flips.listed()) {
    enter_cell(cell.address, cell.zero & 1, cell.one & 1);
  }
  if (!flips.masked()) return;
  for (uint32_t row = 0; row < patch.rows; ++row) {
    const uint64_t base = patch.origin + row * patch.stride;
    const uint64_t *zero = flips.zero(row), *one = flips.one(row);
    const uint64_t words = (grid.run_end(patch, row) - base + 63) / 64;
    for (uint64_t word = (grid.run_begin(patch, row) - base) / 64; word < words; ++word) {
      for (uint64_t left = zero[word] | one[word]; left != 0; left &= left - 1) {
        const auto bit = static_cast<unsigned>(__builtin_ctzll(left));
        const uint64_t cell = base + word * 64 + bit;
        if (cell >= base + patch.columns) break;
        enter_cell(cell, static_cast<uint32_t>(zero[word] >> bit) & 1,
                   static_cast<uint32_t>(one[word] >> bit) & 1);
      }
    }
  }
}

}  // namespace eden
