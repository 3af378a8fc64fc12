// The elements of a tile whose flips are found: each read once and written once, `in` may be `out`.
#pragma once

#include "ops/cuda/find.cuh"

namespace eden::cuda {

// The masks' bits of a vector's elements.
template <int kWords>
struct Window {
  uint32_t word[kWords];

  // What begins with a bit of it.
  template <int kBit>
  __device__ Window from() const {
    constexpr int kFirst = kBit / kGroupCells, kShift = kBit % kGroupCells;
    Window window{};
    for (int w = 0; w + kFirst < kWords; ++w) {
      window.word[w] = word[w + kFirst] >> kShift;
      if (kShift != 0 && w + kFirst + 1 < kWords) {
        window.word[w] |= word[w + kFirst + 1] << (kGroupCells - kShift) % kGroupCells;
      }
    }
    return window;
  }
};

// From bit `place` of a mask on; where words and bits fit, 128 bits at a time, which banks of
// shared memory serve without conflicts.
template <int kWords>
__device__ inline Window<kWords> window_of(const uint32_t* mask, uint32_t place) {
  Window<kWords> window;
  const uint32_t first = place >> kGroupBits, shift = place & (kGroupCells - 1);
  if constexpr (kWords % kVectorWords == 0) {
    if ((first % kVectorWords | shift) == 0) {
      for (int v = 0; v < kWords; v += kVectorWords) {
        const Vector vector = *reinterpret_cast<const Vector*>(mask + first + v);
        for (int w = 0; w < kVectorWords; ++w) window.word[v + w] = vector.word[w];
      }
      return window;
    }
  }
  for (int w = 0; w < kWords; ++w) window.word[w] = mask[first + static_cast<uint32_t>(w)] >> shift;
  if (shift != 0) {
    // The last word may hold bits of what follows, which no element of the vector has.
    for (int w = 0; w < kWords; ++w) {
      window.word[w] |= mask[first + static_cast<uint32_t>(w) + 1] << (kGroupCells - shift);
    }
  }
  return window;
}

// The elements of a word of memory, whose masks' bits begin with bit `first` of a window's.
template <class C, bool kCorrects, int kWords>
__device__ inline uint32_t read_word(uint32_t values, const Window<kWords>& zero,
                                     const Window<kWords>& one, int first,
                                     const ElementCode& code) {
  if constexpr (C::kIdentity && !kCorrects) {
    return C::flipped(values, zero.word[first / kGroupCells], one.word[first / kGroupCells]);
  }
  constexpr uint32_t kValueMask = ~uint32_t{0} >> (32 - C::kValueBits);
  uint32_t result = 0;
  for (int e = 0; e < 32 / C::kValueBits; ++e) {
    const uint32_t bits = (values >> (e * C::kValueBits)) & kValueMask;
    const int bit = first + e * C::kWidthBits;
    const int word = bit / kGroupCells, shift = bit % kGroupCells;
    const uint32_t if_zero = (zero.word[word] >> shift) & C::kMask;
    const uint32_t if_one = (one.word[word] >> shift) & C::kMask;
    // A code decodes what it encoded to what it was, which takes neither.
    const bool untouched = C::kInWordCode && (if_zero | if_one) == 0;
    const uint32_t read = untouched
                              ? C::template read<false, kCorrects>(bits, 0, 0, code)
                              : C::template read<true, kCorrects>(bits, if_zero, if_one, code);
    result |= (read & kValueMask) << (e * C::kValueBits);
  }
  return result;
}

template <class C, bool kCorrects, int kWords>
__device__ inline void read_vector(Vector& vector, Window<kWords> zero, Window<kWords> one,
                                   const ElementCode& code) {
  constexpr int kBitsOfWord = 32 / C::kValueBits * C::kWidthBits;
  if constexpr (C::kInWordCode) {
    // Decoding is long, so that it stands in the code once: the next word comes to the front.
    EDEN_ROLLED
    for (int w = 0; w < kVectorWords; ++w) {
      const uint32_t read = read_word<C, kCorrects>(vector.word[0], zero, one, 0, code);
      vector = {{vector.word[1], vector.word[2], vector.word[3], read}};
      zero = zero.template from<kBitsOfWord>();
      one = one.template from<kBitsOfWord>();
    }
  } else {
    for (int w = 0; w < kVectorWords; ++w) {
      vector.word[w] = read_word<C, kCorrects>(vector.word[w], zero, one, w * kBitsOfWord, code);
    }
  }
}

// Of one sample.
template <class C, bool kCorrects>
__device__ inline void pass_elements(const Load& load, const Tile& tile, const TileScratch& scratch,
                                     int64_t sample, const typename C::Unsigned* in,
                                     typename C::Unsigned* out) {
  constexpr int kInWord = 32 / C::kValueBits;
  constexpr int kInVector = kVectorWords * kInWord;
  constexpr int kBits = kInVector * C::kWidthBits;
  constexpr int kWords = kBits < kGroupCells ? 1 : kBits / kGroupCells;
  const LoadShape& shape = load.shape;
  const Conversion& conversion = load.conversion;
  const uint32_t* zero = scratch.masks;
  const uint32_t* one = scratch.masks + tile.one();

  const auto misplaced = [](const void* pointer) {
    return static_cast<int>(reinterpret_cast<uintptr_t>(pointer) / sizeof(*in) % kInVector);
  };
  const int start = misplaced(in);
  // Vectors are cut in the memory of the tensor; none may reach across two places of a sample.
  const bool vectors = start == misplaced(out) &&
                       (shape.outer == 1 || (start == 0 && shape.inner % kInVector == 0)) &&
                       (conversion.channels == 1 || conversion.channel_inner >= kInVector);
  const int step = vectors ? kInVector : 1;
  const uint32_t elements = (tile.patch.columns + C::kWidthBits - 1) / C::kWidthBits;
  const uint32_t slots = vectors ? (elements + kInVector - 1) / kInVector + 1 : elements;

  const auto channel_of = [&](int64_t index) {
    return conversion.channels == 1 ? 0 : index / conversion.channel_inner % conversion.channels;
  };
  int64_t channel = channel_of(0);
  ElementCode code = C::code_of_channel(conversion, channel);
  const auto choose = [&](int64_t wanted) {
    if (wanted == channel) return;
    channel = wanted;
    code = C::code_of_channel(conversion, channel);
  };

  uint32_t row = 0;
  for (uint32_t slot = threadIdx.x;; slot += kThreads) {
    let_go();
    for (; slot >= slots; ++row) slot -= slots;
    if (row >= tile.patch.rows) return;
    const uint64_t row_begin = tile.patch.origin + row * tile.patch.stride;
    const uint64_t first_cell = PatchGrid::larger(row_begin, tile.begin);
    const uint64_t end_cell = PatchGrid::smaller(row_begin + tile.patch.columns, tile.end);
    if (end_cell <= first_cell) continue;
    // Elements of the row are counted from its first one, which is `first` of the sample.
    const int64_t first = static_cast<int64_t>(first_cell - tile.zero_cell) / C::kWidthBits;
    const int count = static_cast<int>(end_cell - first_cell) / C::kWidthBits;
    const int lead =
        vectors ? static_cast<int>((start + first + (shape.outer == 1 ? sample * shape.inner : 0)) %
                                   kInVector)
                : 0;
    const int from = static_cast<int>(slot) * step - lead;
    const int begin = from < 0 ? 0 : from;
    const int end = from + step < count ? from + step : count;
    if (begin >= end) continue;
    const uint32_t place =
        tile.mask_bit(row, first_cell) + static_cast<uint32_t>(begin * C::kWidthBits);
    const int64_t index = first + begin;
    if (end - begin == kInVector && channel_of(index) == channel_of(index + kInVector - 1)) {
      choose(channel_of(index));
      const int64_t at = shape.tensor_index(sample, index);
      Vector vector = *reinterpret_cast<const Vector*>(in + at);
      read_vector<C, kCorrects>(vector, window_of<kWords>(zero, place),
                                window_of<kWords>(one, place), code);
      *reinterpret_cast<Vector*>(out + at) = vector;
    } else {
      for (int i = 0; i < end - begin; ++i) {
        choose(channel_of(index + i));
        const int64_t at = shape.tensor_index(sample, index + i);
        const uint32_t bit = place + static_cast<uint32_t>(i * C::kWidthBits);
        const uint32_t word = bit >> kGroupBits, shift = bit & (kGroupCells - 1);
        out[at] = static_cast<typename C::Unsigned>(C::template read<true, kCorrects>(
            in[at], (zero[word] >> shift) & C::kMask, (one[word] >> shift) & C::kMask, code));
      }
    }
  }
}

// Of this block's samples.
template <class C>
__device__ __noinline__ void pass_samples(const void* in, void* out) {
  const Load& load = job().load;
  const auto* from = static_cast<const typename C::Unsigned*>(in);
  auto* to = static_cast<typename C::Unsigned*>(out);
  for (int64_t sample = blockIdx.y; sample < load.shape.batch; sample += gridDim.y) {
    if constexpr (C::kCorrectable) {
      if (load.conversion.correction != Correction::kNone) {
        pass_elements<C, true>(load, job().tile, scratch(), sample, from, to);
        continue;
      }
    }
    pass_elements<C, false>(load, job().tile, scratch(), sample, from, to);
  }
}

// Brings the elements of the block's first sample near, before its flips are looked for: memory is
// waited for meanwhile.
__device__ inline void fetch_elements(const Load& load, const Tile& tile, int value_bytes,
                                      int width, const void* in) {
#if defined(__CUDA_ARCH__)
  constexpr uint32_t kLine = 128;
  if (load.shape.outer != 1) return;
  const uint32_t bytes = tile.patch.columns / width * value_bytes;
  const uint32_t lines = bytes / kLine + 1;
  for (uint32_t i = threadIdx.x; i < lines * tile.patch.rows; i += kThreads) {
    const uint64_t begin =
        PatchGrid::larger(tile.patch.origin + i / lines * tile.patch.stride, tile.begin);
    const int64_t first = static_cast<int64_t>(begin - tile.zero_cell) / width;
    const char* at = static_cast<const char*>(in) +
                     (blockIdx.y * load.shape.inner + first) * value_bytes + i % lines * kLine;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
  }
#else
  (void)load, (void)tile, (void)value_bytes, (void)width, (void)in;
#endif
}

}  // namespace eden::cuda
