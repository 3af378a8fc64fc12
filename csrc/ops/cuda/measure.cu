// The kernels that find the ranges of a tensor's channels, make codes of them, and clip gradients.
// Minima and maxima do not depend on the order in which they are taken, so neither do the bits.
#include <cuda_runtime.h>

#include <algorithm>
#include <limits>

#include "ops/cuda/measure.h"
#include "ops/cuda/pass.cuh"

namespace eden::cuda {
namespace {

constexpr int64_t kPieceElements = 1 << 14;  // of a row, that a block takes at a time
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <ValueType kType>
using WordOf = UnsignedOf<storage_bits(own_storage(kType))>;

template <ValueType kType>
__device__ inline float value_of(uint32_t bits) {
  return FormatOf<own_storage(kType)>::decode(bits);
}

// Rows as a block goes through them: piece by piece or, where they are short, elements of many.
struct Walk {
  int64_t length;  // of a row
  int64_t in_row;  // pieces of it

  __host__ __device__ explicit Walk(const ChannelRows& rows)
      : length(rows.length), in_row((rows.length + kPieceElements - 1) / kPieceElements) {}
  __host__ __device__ bool by_pieces() const { return length >= kThreads; }
  // Of so many rows, turns for the blocks.
  __host__ __device__ int64_t turns(int64_t rows) const {
    return by_pieces() ? rows * in_row : (rows * length + kThreads - 1) / kThreads;
  }
};

// Elements of a vector of 16 bytes.
template <class Word>
inline constexpr int kInVector = static_cast<int>(sizeof(Vector) / sizeof(Word));

template <class Word>
__device__ inline int64_t before_vectors(const Word* at, int64_t count) {
  const auto past =
      static_cast<int64_t>(reinterpret_cast<uintptr_t>(at) % sizeof(Vector) / sizeof(Word));
  return past == 0 ? 0 : (kInVector<Word> - past < count ? kInVector<Word> - past : count);
}

// A thread's values so far.
struct Extent {
  float low = kInfinity, high = -kInfinity;
  bool nan = false;

  __device__ void take(float value) {
    low = value < low ? value : low;
    high = value > high ? value : high;
    nan = nan || is_nan(value);
  }
  __device__ ValueRange range() const {
    // Which of two zeros comes first must not decide their sign.
    return nan ? ValueRange{not_a_number(), not_a_number()} : ValueRange{low + 0.0f, high + 0.0f};
  }
};

// That of all threads of a block, for the first one; once in a kernel.
__device__ inline ValueRange of_block(ValueRange mine, ValueRange* of_warp) {
  for (int other = kWarp / 2; other > 0; other /= 2) {
    mine = joined(mine,
                  {__shfl_xor_sync(~0u, mine.low, other), __shfl_xor_sync(~0u, mine.high, other)});
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) mine = joined(mine, of_warp[warp]);
  }
  return mine;
}

// A block for each part of each channel: the range of its values.
template <ValueType kType>
__global__ void __launch_bounds__(kThreads)
    range_kernel(const void* x, const __grid_constant__ ChannelRows rows, int64_t parts,
                 float* ranges) {
  using Word = WordOf<kType>;
  alignas(ValueRange) __shared__ unsigned char room[kThreads / kWarp * sizeof(ValueRange)];
  auto* of_warp = reinterpret_cast<ValueRange*>(room);
  const auto* values = static_cast<const Word*>(x);
  const Walk walk(rows);
  const int64_t rows_of_channel = rows.rows / rows.channels;
  const int64_t channel = blockIdx.x / parts;
  Extent extent;
  for (int64_t turn = blockIdx.x % parts; turn < walk.turns(rows_of_channel); turn += parts) {
    if (!walk.by_pieces()) {
      const int64_t element = turn * kThreads + threadIdx.x;
      if (element >= rows_of_channel * rows.length) continue;
      const int64_t row = channel + element / rows.length * rows.channels;
      extent.take(value_of<kType>(values[row * rows.length + element % rows.length]));
      continue;
    }
    const int64_t row = channel + turn / walk.in_row * rows.channels;
    const int64_t begin = turn % walk.in_row * kPieceElements;
    const int64_t left = rows.length - begin;
    const int64_t count = left < kPieceElements ? left : kPieceElements;
    const Word* piece = values + row * rows.length + begin;
    const int64_t lead = before_vectors(piece, count);
    const int64_t vectors = (count - lead) / kInVector<Word>;
    const int64_t tail = lead + vectors * kInVector<Word>;
    for (int64_t v = threadIdx.x; v < vectors; v += kThreads) {
      const Vector vector = reinterpret_cast<const Vector*>(piece + lead)[v];
      for (int w = 0; w < kVectorWords; ++w) {
        for (int shift = 0; shift < 32; shift += 8 * static_cast<int>(sizeof(Word))) {
          extent.take(value_of<kType>(static_cast<Word>(vector.word[w] >> shift)));
        }
      }
    }
    for (int64_t i = threadIdx.x; i < lead; i += kThreads) extent.take(value_of<kType>(piece[i]));
    for (int64_t i = tail + threadIdx.x; i < count; i += kThreads) {
      extent.take(value_of<kType>(piece[i]));
    }
  }
  const ValueRange range = of_block(extent.range(), of_warp);
  if (threadIdx.x == 0) {
    float* const of_part = ranges + 2 * blockIdx.x;
    of_part[0] = range.low;
    of_part[1] = range.high;
  }
}

// One block: the ranges of the channels' parts become codes.
__global__ void __launch_bounds__(kThreads)
    codes_kernel(const __grid_constant__ CodeRule rule, const float* ranges, int64_t parts,
                 int64_t channels, const __grid_constant__ MeasuredCodes codes) {
  alignas(ValueRange) __shared__ unsigned char room[kThreads / kWarp * sizeof(ValueRange)];
  __shared__ uint32_t clipped;
  if (threadIdx.x == 0) clipped = 0;
  __syncthreads();
  ValueRange all{kInfinity, -kInfinity};
  bool clips_any = false;
  for (int64_t channel = threadIdx.x; channel < channels; channel += kThreads) {
    const float* const of_parts = ranges + 2 * channel * parts;
    ValueRange range{of_parts[0], of_parts[1]};
    for (int64_t part = 1; part < parts; ++part) {
      range = joined(range, {of_parts[2 * part], of_parts[2 * part + 1]});
    }
    if (codes.scale != nullptr) {
      const Codes found = codes_for(rule, range);
      codes.scale[channel] = found.scale;
      if (codes.zero_point != nullptr) codes.zero_point[channel] = found.zero_point;
      clips_any = clips_any || clips(rule, found, range);
    }
    all = joined(all, range);
  }
  if (clips_any) atomicOr(&clipped, 1);
  all = of_block(all, reinterpret_cast<ValueRange*>(room));
  if (threadIdx.x != 0) return;
  if (codes.bounds != nullptr) {
    codes.bounds[0] = all.low;
    codes.bounds[1] = all.high;
  }
  if (codes.clipped != nullptr) *codes.clipped = clipped != 0;
}

// Whether a value's gradient passes: what it makes of division by the divisor lies between the
// ends.
struct Passes {
  Ratios ratios;
  float divisor = 1.0f;
  bool all = false;

  __device__ bool operator()(float value) const { return all || ratios.hold(value / divisor); }
};

__device__ inline Passes passes_of(const DeviceClip& clip, const CodeRule& rule, int64_t channel) {
  if (clip.bounds != nullptr) {
    return {{clip.bounds[0], clip.bounds[1]}, 1.0f, is_nan(clip.bounds[0])};
  }
  const float scale = clip.scale != nullptr ? clip.scale[channel] : 1.0f;
  if (clip.storage == Storage::kSign) return {{-scale, scale}};
  const int32_t point = clip.zero_point != nullptr ? clip.zero_point[channel] : 0;
  return {unclipped_ratios(rule, point), divisor_of(scale)};
}

template <ValueType kType>
__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    gradient_kernel(const __grid_constant__ DeviceClip clip, const __grid_constant__ CodeRule rule,
                    const void* grad, const void* x, const __grid_constant__ ChannelRows rows,
                    void* out) {
  using Word = WordOf<kType>;
  const auto* gradients = static_cast<const Word*>(grad);
  const auto* values = static_cast<const Word*>(x);
  auto* results = static_cast<Word*>(out);
  const Walk walk(rows);
  const int64_t elements = rows.rows * rows.length;
  const auto pass = [&](const Passes& passes, int64_t at) {
    results[at] = passes(value_of<kType>(values[at])) ? gradients[at] : Word{0};
  };
  for (int64_t turn = blockIdx.x; turn < walk.turns(rows.rows); turn += gridDim.x) {
    if (!walk.by_pieces()) {
      const int64_t element = turn * kThreads + threadIdx.x;
      if (element < elements)
        pass(passes_of(clip, rule, element / rows.length % rows.channels), element);
      continue;
    }
    const int64_t row = turn / walk.in_row, begin = turn % walk.in_row * kPieceElements;
    const int64_t left = rows.length - begin;
    const int64_t count = left < kPieceElements ? left : kPieceElements;
    const int64_t first = row * rows.length + begin;
    const Passes passes = passes_of(clip, rule, row % rows.channels);
    // Vectors only where all three begin one at the same element.
    int64_t lead = before_vectors(values + first, count);
    if (before_vectors(gradients + first, count) != lead ||
        before_vectors(results + first, count) != lead) {
      lead = count;
    }
    const int64_t vectors = (count - lead) / kInVector<Word>;
    const int64_t tail = lead + vectors * kInVector<Word>;
    for (int64_t v = threadIdx.x; v < vectors; v += kThreads) {
      const Vector value = reinterpret_cast<const Vector*>(values + first + lead)[v];
      Vector kept = reinterpret_cast<const Vector*>(gradients + first + lead)[v];
      for (int w = 0; w < kVectorWords; ++w) {
        constexpr uint32_t kWord = static_cast<Word>(~Word{0});
        for (int shift = 0; shift < 32; shift += 8 * static_cast<int>(sizeof(Word))) {
          if (!passes(value_of<kType>(static_cast<Word>(value.word[w] >> shift)))) {
            kept.word[w] &= ~(kWord << shift);
          }
        }
      }
      reinterpret_cast<Vector*>(results + first + lead)[v] = kept;
    }
    for (int64_t i = threadIdx.x; i < lead; i += kThreads) pass(passes, first + i);
    for (int64_t i = tail + threadIdx.x; i < count; i += kThreads) pass(passes, first + i);
  }
}

cudaLaunchConfig_t config_of(int64_t blocks, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(blocks), 1, 1};
  config.blockDim = {kThreads, 1, 1};
  config.stream = stream;
  return config;
}

// Of a storage without codes nothing is asked.
CodeRule rule_of(Storage storage, const int32_t* zero_point) {
  if (!is_quantized(storage) || storage == Storage::kInt32) return {};
  return CodeRule::of(storage, zero_point != nullptr);
}

}  // namespace

int64_t parts_of(const ChannelRows& rows) {
  const int64_t turns = Walk(rows).turns(rows.rows / rows.channels);
  return std::min(turns, std::max<int64_t>(1, kBlocksWanted / rows.channels));
}

cudaError_t measure(ValueType value, Storage storage, const void* x, const ChannelRows& rows,
                    float* ranges, const MeasuredCodes& codes, cudaStream_t stream) {
  const int64_t parts = parts_of(rows);
  const cudaLaunchConfig_t of_ranges = config_of(rows.channels * parts, stream);
  const cudaError_t error = visit_float(value, [&]<ValueType kType>() {
    return cudaLaunchKernelEx(&of_ranges, range_kernel<kType>, x, rows, parts, ranges);
  });
  if (error != cudaSuccess) return error;
  const cudaLaunchConfig_t of_codes = config_of(1, stream);
  return cudaLaunchKernelEx(&of_codes, codes_kernel, rule_of(storage, codes.zero_point),
                            static_cast<const float*>(ranges), parts, rows.channels, codes);
}

cudaError_t clip_gradient(ValueType value, const DeviceClip& clip, const void* grad, const void* x,
                          const ChannelRows& rows, void* out, cudaStream_t stream) {
  const cudaLaunchConfig_t config =
      config_of(std::min(Walk(rows).turns(rows.rows), kBlocksWanted), stream);
  const CodeRule rule = rule_of(clip.storage, clip.zero_point);
  return visit_float(value, [&]<ValueType kType>() {
    return cudaLaunchKernelEx(&config, gradient_kernel<kType>, clip, rule, grad, x, rows, out);
  });
}

}  // namespace eden::cuda
