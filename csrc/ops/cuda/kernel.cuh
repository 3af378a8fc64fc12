// The kernel of every codec: a block of threads for each tile of core/tile.h.
#pragma once

#include <algorithm>

#include "core/region_check.h"
#include "core/tile.h"
#include "ops/cuda/kernel.h"

namespace eden::cuda {
namespace {

constexpr int kThreads = 256;
// Blocks that fill any device a few times over. Samples that share their cells pass through one
// block's masks; where there are fewer tiles than this, more blocks find the same masks again.
constexpr int64_t kBlocksWanted = 2048;

struct JoinAtomically {
  __device__ void operator()(uint32_t* word, uint32_t bits) const { atomicOr(word, bits); }
};

// One function for all kernels of a file: it is most of their code, and knows no codec.
__device__ __noinline__ void find_flips(const Load& load, const Tile& tile, TileScratch& scratch) {
  for (int phase = 0; phase < kTilePhases; ++phase) {
    tile_phase(phase, load, tile, scratch, static_cast<int>(threadIdx.x), kThreads,
               JoinAtomically{});
    __syncthreads();
  }
}

// The load that a kernel does: the device's, or one from reliable memory and a complaint.
__device__ __noinline__ void make_load(const DeviceLoad& device, uint64_t width, Load& load) {
  load.regions = device.regions;
  load.region_count = device.region_count;
  load.table = device.table;
  load.table_size = device.table_size;
  load.chip = static_cast<uint64_t>(*device.chip);
  load.access = static_cast<uint64_t>(*device.access);
  load.shape = device.shape;
  load.conversion = device.conversion;
  if (device.bounds != nullptr) {
    load.conversion.correction = static_cast<Correction>(device.regions[kCorrection]);
    load.conversion.low = device.bounds[0];
    load.conversion.high = device.bounds[1];
  }
  const FoundFault found = trust_faulty(load, width);
  if (found.fault != RegionFault::kNone && blockIdx.x + blockIdx.y + threadIdx.x == 0) {
    *device.complaint = pack_fault(found);
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads)
    corrupt_kernel(const __grid_constant__ DeviceLoad device, const typename C::Unsigned* in,
                   typename C::Unsigned* out) {
  __shared__ TileScratch scratch;
  Load load;
  make_load(device, C::kWidthBits, load);
  const int thread = static_cast<int>(threadIdx.x);
  const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) * C::kWidthBits;
  int64_t turn = blockIdx.x;  // among the tiles of the region at hand, this block's next one
  for (int64_t which = 0; which < load.region_count; ++which) {
    const uint64_t first = load.first_bit(which);
    if (first >= bits) return;
    const Region region = load.region(which);
    const TileGrid grid = TileGrid::cut(region, PatchGrid::smaller(region.end, bits) - first);
    for (; turn < grid.tiles; turn += gridDim.x) {
      const Tile tile = Tile::make(load, which, region, grid, turn);
      if (tile.patch.rows == 0) continue;
      __syncthreads();  // the masks of the tile before are still being read
      find_flips(load, tile, scratch);
      for (int64_t sample = blockIdx.y; sample < load.shape.batch; sample += gridDim.y) {
        if constexpr (C::kCorrectable) {
          if (load.conversion.correction != Correction::kNone) {
            tile_elements<C, true>(load, tile, scratch, sample, in, out, thread, kThreads);
            continue;
          }
        }
        tile_elements<C, false>(load, tile, scratch, sample, in, out, thread, kThreads);
      }
    }
    turn -= grid.tiles;
  }
}

template <ValueType kValue, Storage kStorage>
void launch(const DeviceLoad& load, const void* in, void* out, cudaStream_t stream) {
  using C = Codec<kValue, kStorage>;
  using Bits = typename C::Unsigned;
  // As many as a single region of whole tiles would have; what else there is, is strided over.
  const int64_t tiles = load.shape.sample_size() / (kTileCells / C::kWidthBits) + 1;
  const int64_t columns = std::min(tiles, kBlocksWanted);
  const int64_t rows = std::min(load.shape.batch, std::max<int64_t>(1, kBlocksWanted / columns));
  corrupt_kernel<C>
      <<<dim3(static_cast<unsigned>(columns), static_cast<unsigned>(rows)), kThreads, 0, stream>>>(
          load, static_cast<const Bits*>(in), static_cast<Bits*>(out));
}

// The launches of a type that can be kept in every storage but int32.
template <ValueType kValue>
Launch find_launch_of(Storage storage) {
  switch (storage) {
    case Storage::kFloat32:
      return launch<kValue, Storage::kFloat32>;
    case Storage::kInt8:
      return launch<kValue, Storage::kInt8>;
    case Storage::kFloat16:
      return launch<kValue, Storage::kFloat16>;
    case Storage::kBFloat16:
      return launch<kValue, Storage::kBFloat16>;
    case Storage::kFloat8E4M3:
      return launch<kValue, Storage::kFloat8E4M3>;
    case Storage::kFloat8E5M2:
      return launch<kValue, Storage::kFloat8E5M2>;
    case Storage::kInt16:
      return launch<kValue, Storage::kInt16>;
    case Storage::kUint8:
      return launch<kValue, Storage::kUint8>;
    case Storage::kInt4:
      return launch<kValue, Storage::kInt4>;
    case Storage::kSign:
      return launch<kValue, Storage::kSign>;
    case Storage::kInt16SignMagnitude:
      return launch<kValue, Storage::kInt16SignMagnitude>;
    case Storage::kInt8SignMagnitude:
      return launch<kValue, Storage::kInt8SignMagnitude>;
    case Storage::kInt4SignMagnitude:
      return launch<kValue, Storage::kInt4SignMagnitude>;
    case Storage::kInt32:
      break;
  }
  return nullptr;
}

}  // namespace
}  // namespace eden::cuda
