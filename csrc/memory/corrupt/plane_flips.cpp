#include "memory/corrupt/plane_flips.h"

#include <algorithm>

namespace eden {

const std::vector<FlippedElement>& PlaneFlips::chunk(int64_t which) const {
  const Chunk& chunk = chunks_[static_cast<size_t>(which)];
  // Masks join what hits one element by themselves; a list has to name each element once.
  std::call_once(chunk.joined, [&] {
    std::vector<FlippedElement>& flips = chunk.flips;
    if (flips.size() * kCellsPerFlipInList >= chunk_elements_ * width_) return;
    std::sort(flips.begin(), flips.end(), [](const FlippedElement& a, const FlippedElement& b) {
      return a.address < b.address;
    });
    size_t size = 0;
    for (const FlippedElement& flip : flips) {
      if (size != 0 && flips[size - 1].address == flip.address) {
        flips[size - 1].zero |= flip.zero;
        flips[size - 1].one |= flip.one;
      } else {
        flips[size++] = flip;
      }
    }
    flips.resize(size);
  });
  return chunk.flips;
}

}  // namespace eden
