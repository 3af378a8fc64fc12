// From the cells of a plane to the bits of words.
#pragma once

#include "memory/corrupt/simd/random_lanes.h"

namespace eden::simd::EDEN_ISA {
namespace {

template <bool kOneRun>
EDEN_LANES void append_cells(const PlaneLayout& plane, uint32_t lead, const uint32_t* cell,
                             size_t count, uint32_t* to) {
  const uint32_t width_log2 = static_cast<uint32_t>(__builtin_ctz(plane.width));
  for (size_t at = 0; at < count; at += kLanes) {
    // Twice the cell's number, and the flag.
    const Words given = load(cell + at), flag = given & 1u;
    const Words twice = (given - flag) + 2 * lead;
    Wide high, low;
    multiply(widen(twice), plane.inverse, high, low);
    const Words element = narrow(high), rest = (twice >> 1) - element * plane.bits;
    Words position = rest + plane.run[0].up;
    if (!kOneRun) {
      for (uint32_t r = 1; r < plane.runs; ++r) {
        const uint32_t further = plane.run[r].up - plane.run[r - 1].up;
        position += where(at_most(broadcast(plane.run[r].first), rest), broadcast(further));
      }
    }
    store(to + at, (((element << width_log2) + position) << 1) + flag);
  }
}

void cells_of_words(const PlaneLayout& plane, uint32_t lead, const uint32_t* cell, size_t count,
                    FoundCells& found) {
  if (count == 0) return;
  reserve(found, count + kLanes);
  uint32_t* const to = found.cell + found.size;
  const size_t whole = count / kLanes * kLanes;
  const auto append = [&](const uint32_t* from, size_t size, uint32_t* into) {
    if (plane.runs == 1) {
      append_cells<true>(plane, lead, from, size, into);
    } else {
      append_cells<false>(plane, lead, from, size, into);
    }
  };
  append(cell, whole, to);
  // Lists end where they end.
  uint32_t last[kLanes] = {};
  __builtin_memcpy(last, cell + whole, (count - whole) * sizeof(uint32_t));
  append(last, kLanes, to + whole);
  found.size += count;
}

// One step of spreading a plane's bits of so many elements: the upper half of each group of `group`
// elements moves up.
struct Step {
  uint64_t lower, upper;
  int shift;
};

// `pattern`, of `size` bits, again and again `period` bits later.
EDEN_LANES uint64_t repeated(uint64_t size, uint64_t first, uint64_t period) {
  const uint64_t pattern = (size == 64 ? ~uint64_t{0} : (uint64_t{1} << size) - 1) << first;
  uint64_t found = 0;
  for (uint64_t at = 0; at < 64; at += period) found |= pattern << at;
  return found;
}

EDEN_LANES Pairs load_pairs(const void* at) { return reinterpret_cast<Pairs>(load(at)); }

void mask_of_words(const PlaneLayout& plane, const uint64_t* of_plane, size_t words,
                   uint64_t* mask) {
  const uint64_t width = plane.width, bits = plane.bits, elements = 64 / width;
  Step steps[6];
  int count = 0;
  for (uint64_t half = elements / 2; half != 0; half /= 2) {
    const uint64_t lower = repeated(half * bits, 0, 2 * half * width);
    steps[count++] = {lower, lower << (half * width), static_cast<int>(half * (width - bits))};
  }
  uint64_t of_run[kMostRuns];
  for (uint32_t r = 0; r < plane.runs; ++r) {
    const uint32_t end = r + 1 < plane.runs ? plane.run[r + 1].first : plane.bits;
    of_run[r] = repeated(end - plane.run[r].first, plane.run[r].first, width);
  }
  const uint64_t in_word = elements * bits;
  const auto* bytes = reinterpret_cast<const uint8_t*>(of_plane);
  constexpr size_t kPairs = kLanes / 2;
  alignas(64) uint64_t parts[kBatch];
  for (size_t done = 0; done < words; done += kBatch) {
    const size_t size = words - done < kBatch ? words - done : kBatch;
    uint64_t bit = done * in_word;
    if (in_word % 8 == 0) {
      const uint8_t* from = bytes + bit / 8;
      for (size_t i = 0; i < size; ++i, from += in_word / 8) {
        __builtin_memcpy(&parts[i], from, sizeof(uint64_t));
      }
    } else {
      for (size_t i = 0; i < size; ++i, bit += in_word) {
        uint64_t low;
        __builtin_memcpy(&low, bytes + bit / 8, sizeof(low));
        const uint64_t high = bytes[bit / 8 + 8], by = bit % 8;
        parts[i] = (low >> by) | ((high << 1) << (63 - by));
      }
    }
    for (size_t i = size; i % kPairs != 0; ++i) parts[i] = 0;
    for (size_t at = 0; at < size; at += kPairs) {
      Pairs spread = load_pairs(parts + at);
      for (int s = 0; s < count; ++s) {
        spread = (spread & steps[s].lower) | ((spread << steps[s].shift) & steps[s].upper);
      }
      Pairs joined = load_pairs(mask + done + at);
      for (uint32_t r = 0; r < plane.runs; ++r) {
        joined |= (spread & of_run[r]) << static_cast<int>(plane.run[r].up);
      }
      store(mask + done + at, reinterpret_cast<Words>(joined));
    }
  }
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
