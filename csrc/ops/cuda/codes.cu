// The kernels around a read of a storage with a code of several words (memory/codes/coded_load.h):
// values to cells, before these are read as any bytes are, and cells to values behind it. A block
// of threads for each piece of a sample. What it reads and writes goes through shared memory, 16
// bytes at a time, so that values, of whatever type, and blocks of nine bytes cost no more accesses
// than their bytes ask for.
#include <cuda_runtime.h>

#include <algorithm>

#include "ops/cuda/kernel.h"
#include "ops/cuda/pass.cuh"

namespace eden::cuda {
namespace {

constexpr int kPieceBytes = 4096;  // of words
constexpr int kPieceBlocks = kPieceBytes / Secded::kDataBytes;
constexpr int kVectorBytes = sizeof(Vector);

// What the host says of a storage.
struct Code {
  Protection protection;
  int word_bytes;
  CodeBlock block;

  explicit Code(Storage storage)
      : protection(traits_of(storage).protection),
        word_bytes(storage_bits(storage) <= 8 ? 1 : storage_bits(storage) / 8),
        block(code_block(storage)) {}
  __host__ __device__ int64_t in_piece() const { return kPieceBytes / word_bytes; }
  __host__ __device__ int64_t in_sample(const LoadShape& shape) const {
    return (shape.sample_size() + in_piece() - 1) / in_piece();
  }
  __host__ __device__ int64_t blocks(int64_t elements) const {
    return (elements + block.words - 1) / block.words;
  }
};

// Elements [first, first + count) of a sample; the first thread alone changes it.
struct Piece {
  int64_t sample, first;
  int count;
  int blocks;
  int64_t begin;  // of its cells, among the bytes of all samples'
  bool staged;    // its values lie side by side in memory

  __device__ void set(const Code& code, const LoadShape& shape, int64_t turn) {
    const int64_t elements = shape.sample_size(), in_sample = code.in_sample(shape);
    sample = turn / in_sample;
    first = turn % in_sample * code.in_piece();
    const int64_t left = elements - first;
    count = static_cast<int>(left < code.in_piece() ? left : code.in_piece());
    blocks = static_cast<int>(code.blocks(count));
    begin = (sample * code.blocks(elements) + first / code.block.words) * code.block.bytes;
    staged = shape.outer == 1;
  }
};

// Where a piece lies on its way; values and cells as far from a place of 16 bytes as in memory.
struct Room {
  Piece piece;
  alignas(16) unsigned char values[4 * kPieceBytes + kVectorBytes];
  alignas(16) unsigned char words[kPieceBytes];
  alignas(16) unsigned char cells[kPieceBlocks * Secded::kBlockBytes + kVectorBytes];
  bool detected[kPieceBlocks];  // errors that SECDED does not correct
};
__device__ inline Room& room() {
  __shared__ Room of_block;
  return of_block;
}

// The tile of a tripled sign that a byte of a sample is in.
struct SignTile {
  int64_t first, count;

  __device__ SignTile(int64_t byte, int64_t bytes) {
    const int64_t tiles = TripledSign::tiles(bytes), which = byte / TripledSign::kTileBytes;
    first = (which < tiles ? which : tiles - 1) * TripledSign::kTileBytes;
    count = first / TripledSign::kTileBytes + 1 < tiles ? TripledSign::kTileBytes : bytes - first;
  }
  // So many thirds of the tile behind a byte of it, or before it, counted around.
  __device__ int64_t behind(int64_t byte, int thirds) const {
    const int64_t at = byte + thirds * (count / 3);
    return at < first + count ? at : at - count;
  }
  __device__ int64_t before(int64_t byte, int thirds) const {
    const int64_t at = byte - thirds * (count / 3);
    return at >= first ? at : at + count;
  }
};

// The place in a room for what lies at a place in memory.
template <class Byte>
__device__ inline unsigned char* place_for(unsigned char* in_room, const Byte* at) {
  return in_room + reinterpret_cast<uintptr_t>(at) % kVectorBytes;
}

// Bytes from memory to the place for them, or back.
__device__ inline void move(unsigned char* to, const unsigned char* from, int bytes) {
  const auto thread = static_cast<int>(threadIdx.x);
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(from) % kVectorBytes);
  const int lead = past == 0 ? 0 : kVectorBytes - past < bytes ? kVectorBytes - past : bytes;
  const int vectors = (bytes - lead) / kVectorBytes, tail = lead + vectors * kVectorBytes;
  // Four would hold more in registers than there are.
  EDEN_TURNS(2)
  for (int v = thread; v < vectors; v += kThreads) {
    reinterpret_cast<Vector*>(to + lead)[v] = reinterpret_cast<const Vector*>(from + lead)[v];
  }
  if (thread < lead) to[thread] = from[thread];
  if (thread < bytes - tail) to[tail + thread] = from[tail + thread];
}

// A thread's elements between values and words, with the numbers of their channel.
template <class C>
struct Coder {
  const Conversion& conversion;
  bool corrects;
  int64_t channel = 0;
  ElementCode code;

  __device__ explicit Coder(const Conversion& of)
      : conversion(of),
        corrects(of.correction != Correction::kNone),
        code(C::code_of_channel(of, 0)) {}
  __device__ void choose(int64_t element) {
    if (conversion.channels == 1) return;
    const int64_t wanted = element / conversion.channel_inner % conversion.channels;
    if (wanted == channel) return;
    channel = wanted;
    code = C::code_of_channel(conversion, channel);
  }
  __device__ uint32_t word(uint32_t bits, int64_t element) {
    choose(element);
    return corrects ? C::template stored<true>(bits, code) : C::template stored<false>(bits, code);
  }
  __device__ uint32_t value(uint32_t word, int64_t element) {
    choose(element);
    const float read = C::decode(word, code);
    return corrects ? C::template value_bits<true>(read, code)
                    : C::template value_bits<false>(read, code);
  }
};

template <class C>
using CodeWord = UnsignedOf<(C::kWidthBits < 8 ? 8 : C::kWidthBits)>;

// The words of a piece; of a tripled sign those whose copy 0, 1 or 2 its bytes have.
template <class C, bool kTripled>
__device__ __noinline__ void make_words(int copy, const void* in) {
  using Value = typename C::Unsigned;
  const Load& load = job().load;
  const Piece& piece = room().piece;
  const bool staged = piece.staged && !kTripled;
  const auto* const values = static_cast<const Value*>(in);
  auto* const words = reinterpret_cast<CodeWord<C>*>(room().words);
  Coder<C> coder(load.conversion);
  EDEN_ROLLED
  for (int i = static_cast<int>(threadIdx.x); i < piece.count; i += kThreads) {
    int64_t element = piece.first + i;
    if constexpr (kTripled) {
      element = SignTile(element, load.shape.sample_size()).before(element, copy);
    }
    const int64_t at = staged ? i : load.shape.tensor_index(piece.sample, element);
    words[i] = static_cast<CodeWord<C>>(coder.word(values[at], element));
  }
}

template <class C, bool kSecded>
__device__ __noinline__ void make_values(void* out) {
  using Value = typename C::Unsigned;
  const Load& load = job().load;
  const Piece& piece = room().piece;
  auto* const values = static_cast<Value*>(out);
  const auto* const words = reinterpret_cast<const CodeWord<C>*>(room().words);
  const bool zeroes = kSecded && load.conversion.correction == Correction::kZero;
  Coder<C> coder(load.conversion);
  EDEN_ROLLED
  for (int i = static_cast<int>(threadIdx.x); i < piece.count; i += kThreads) {
    const int64_t element = piece.first + i;
    uint32_t bits = coder.value(words[i], element);
    constexpr int kInBlock = Secded::kDataBytes / static_cast<int>(sizeof(CodeWord<C>));
    if (zeroes && room().detected[i / kInBlock]) bits = 0;
    const int64_t at = piece.staged ? i : load.shape.tensor_index(piece.sample, element);
    values[at] = static_cast<Value>(bits);
  }
}

__device__ inline void* block_data(int block) {
  return __builtin_assume_aligned(room().words + block * Secded::kDataBytes, Secded::kDataBytes);
}

// Words to cells; of a tripled sign those of one copy, which join the others.
__device__ inline void protect(Protection code, int copy, unsigned char* cells) {
  const unsigned char* const words = room().words;
  const Piece& piece = room().piece;
  EDEN_ROLLED
  for (int block = static_cast<int>(threadIdx.x); block < piece.blocks; block += kThreads) {
    if (code == Protection::kSecded) {
      uint64_t data;
      __builtin_memcpy(&data, block_data(block), sizeof(data));
      unsigned char* const to = cells + block * Secded::kBlockBytes;
      for (int byte = 0; byte < Secded::kDataBytes; ++byte) {
        to[byte] = static_cast<unsigned char>(data >> (8 * byte));
      }
      to[Secded::kDataBytes] = Secded::checks(data);
    } else if (code == Protection::kHamming) {
      const unsigned both = Hamming::protect(words[2 * block], words[2 * block + 1]);
      cells[2 * block] = static_cast<unsigned char>(both);
      cells[2 * block + 1] = static_cast<unsigned char>(both >> 8);
    } else {
      const unsigned part = TripledSign::part_of(words[block], copy);
      cells[block] = static_cast<unsigned char>(copy == 0 ? part : cells[block] | part);
    }
  }
}

// Cells to words.
__device__ inline void recover(Protection code, const unsigned char* cells) {
  unsigned char* const words = room().words;
  const Piece& piece = room().piece;
  EDEN_ROLLED
  for (int block = static_cast<int>(threadIdx.x); block < piece.blocks; block += kThreads) {
    if (code == Protection::kSecded) {
      const unsigned char* const from = cells + block * Secded::kBlockBytes;
      uint64_t data = 0;
      for (int byte = 0; byte < Secded::kDataBytes; ++byte) {
        data |= static_cast<uint64_t>(from[byte]) << (8 * byte);
      }
      const Secded::Decoded decoded = Secded::decode(data, from[Secded::kDataBytes]);
      __builtin_memcpy(block_data(block), &decoded.data, sizeof(decoded.data));
      room().detected[block] = decoded.detected;
    } else if (code == Protection::kHamming) {
      const unsigned both =
          Hamming::recover(cells[2 * block] | static_cast<unsigned>(cells[2 * block + 1]) << 8);
      words[2 * block] = static_cast<unsigned char>(both & Hamming::kWord);
      words[2 * block + 1] =
          static_cast<unsigned char>(both >> Hamming::kWordBits & Hamming::kWord);
    } else {
      // The other copies lie in other pieces: `cells` are in memory here.
      const int64_t number = piece.first + block;
      const SignTile tile(number, job().load.shape.sample_size());
      const unsigned char* const sample = cells - piece.first;
      words[block] = static_cast<unsigned char>(TripledSign::word_of(
          sample[number], sample[tile.behind(number, 1)], sample[tile.behind(number, 2)]));
    }
  }
}

// The block's next piece, if there is one.
__device__ inline bool next_piece(const Code& code) {
  __syncthreads();  // the piece before is still being moved
  if (threadIdx.x == 0) {
    Job& job = eden::cuda::job();
    const LoadShape& shape = job.load.shape;
    job.done = job.turn >= code.in_sample(shape) * shape.batch;
    if (!job.done) room().piece.set(code, shape, job.turn);
    job.turn += gridDim.x;
  }
  __syncthreads();
  return !job().done;
}

__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    encode_kernel(const __grid_constant__ DeviceLoad device, const __grid_constant__ Code code,
                  ValueType value, Storage storage, const void* in, void* cells) {
  if (threadIdx.x == 0) make_job(device);
  const LoadShape& shape = job().load.shape;
  const Piece& piece = room().piece;
  const bool tripled = code.protection == Protection::kTripledSign;
  while (next_piece(code)) {
    unsigned char* const to = static_cast<unsigned char*>(cells) + piece.begin;
    unsigned char* const in_room = place_for(room().cells, to);
    const void* values = in;
    if (piece.staged && !tripled) {
      const unsigned char* const from =
          static_cast<const unsigned char*>(in) +
          shape.tensor_index(piece.sample, piece.first) * device.value_bytes;
      unsigned char* const here = place_for(room().values, from);
      move(here, from, piece.count * device.value_bytes);
      values = here;
      __syncthreads();
    }
    for (int i = piece.count + static_cast<int>(threadIdx.x);
         i < piece.blocks * static_cast<int>(code.block.words); i += kThreads) {
      // The last block is filled up with zeros.
      for (int byte = 0; byte < code.word_bytes; ++byte) {
        room().words[i * code.word_bytes + byte] = 0;
      }
    }
    for (int copy = 0; copy < (tripled ? 3 : 1); ++copy) {
      visit_codec<true>(value, storage, [&]<ValueType kValue, Storage kStorage>() {
        constexpr bool kTripled = traits_of(kStorage).protection == Protection::kTripledSign;
        make_words<Codec<kValue, kStorage>, kTripled>(copy, values);
      });
      __syncthreads();
      protect(code.protection, copy, in_room);
    }
    __syncthreads();
    move(to, in_room, piece.blocks * static_cast<int>(code.block.bytes));
  }
}

// `device` has the shape of the values; regions that cannot be followed, of their cells, poison the
// values as well.
__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    decode_kernel(const __grid_constant__ DeviceLoad device, const __grid_constant__ Code code,
                  ValueType value, Storage storage, const void* cells, void* out) {
  if (threadIdx.x == 0) {
    Job& job = make_job(device);
    Load of_cells = job.load;
    of_cells.shape = {1, 1, code.blocks(device.shape.sample_size()) * code.block.bytes};
    job.fault = fault_here(of_cells, 8);
  }
  const LoadShape& shape = job().load.shape;
  const Piece& piece = room().piece;
  const bool tripled = code.protection == Protection::kTripledSign;
  while (next_piece(code)) {
    if (job().fault.fault != RegionFault::kNone) {
      // Every block has a piece.
      poison(out, shape.sample_size() * shape.batch * device.value_bytes,
             blockIdx.x * int64_t{kThreads} + threadIdx.x, gridDim.x * int64_t{kThreads});
      return;
    }
    const unsigned char* const from = static_cast<const unsigned char*>(cells) + piece.begin;
    unsigned char* const in_room = place_for(room().cells, from);
    if (!tripled) move(in_room, from, piece.blocks * static_cast<int>(code.block.bytes));
    __syncthreads();
    recover(code.protection, tripled ? from : in_room);
    __syncthreads();
    unsigned char* const to = static_cast<unsigned char*>(out) +
                              shape.tensor_index(piece.sample, piece.first) * device.value_bytes;
    unsigned char* const here = place_for(room().values, to);
    visit_codec<true>(value, storage, [&]<ValueType kValue, Storage kStorage>() {
      constexpr bool kSecded = traits_of(kStorage).protection == Protection::kSecded;
      make_values<Codec<kValue, kStorage>, kSecded>(piece.staged ? here : out);
    });
    if (!piece.staged) continue;
    __syncthreads();
    move(to, here, piece.count * device.value_bytes);
  }
}

}  // namespace

cudaError_t launch_coded(const DeviceLoad& load, ValueType value, Storage storage, const void* in,
                         void* cells, void* out, cudaStream_t stream) {
  const Code code(storage);
  DeviceLoad of_values = load;
  of_values.value_bytes = storage_bits(own_storage(value)) / 8;
  const int64_t pieces = code.in_sample(load.shape) * load.shape.batch;
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(std::min(pieces, resident_blocks())), 1, 1};
  config.blockDim = {kThreads, 1, 1};
  config.stream = stream;
  cudaError_t error =
      cudaLaunchKernelEx(&config, encode_kernel, of_values, code, value, storage, in, cells);
  if (error != cudaSuccess) return error;
  DeviceLoad of_cells = load;
  of_cells.shape = {1, load.shape.batch, cells_of(storage, load.shape.sample_size()) / 8};
  of_cells.conversion = {};
  of_cells.bounds = nullptr;
  error = launch(of_cells, ValueType::kUint8, Storage::kUint8, cells, cells, stream);
  if (error != cudaSuccess) return error;
  return cudaLaunchKernelEx(&config, decode_kernel, of_values, code, value, storage,
                            static_cast<const void*>(cells), out);
}

}  // namespace eden::cuda
