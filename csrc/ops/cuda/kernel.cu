// The kernel of every codec: a block of threads for each tile of tile.h. There is one kernel
// for all, because finding the flips is most of its code and knows no codec: what a value is and
// how it is stored is asked once for each tile.
#include <cuda_runtime.h>

#include <algorithm>

#include "memory/corrupt/tile.h"
#include "memory/region_check.h"
#include "ops/cuda/kernel.h"

namespace eden::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksOnMultiprocessor = 2;  // at least: bounds what a thread's registers may be
// Blocks that fill any device a few times over. Samples that share their cells pass through one
// block's masks; where there are fewer tiles than this, more blocks find the same masks again.
constexpr int64_t kBlocksWanted = 2048;

struct JoinAtomically {
  __device__ void operator()(uint32_t* word, uint32_t bits) const { atomicOr(word, bits); }
};

__device__ __noinline__ void find_flips(const Load& load, const Tile& tile, TileScratch& scratch) {
  for (int phase = 0; phase < kTilePhases; ++phase) {
    tile_phase(phase, load, tile, scratch, static_cast<int>(threadIdx.x), kThreads,
               JoinAtomically{});
    __syncthreads();
  }
}

// The load that a kernel does; false, and a complaint, where it cannot be done.
__device__ __noinline__ bool make_load(const DeviceLoad& device, uint64_t width, Load& load) {
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
  const FoundFault found = find_fault(load, width);
  if (found.fault == RegionFault::kNone) return true;
  if (blockIdx.x + blockIdx.y + threadIdx.x == 0) *device.complaint = pack_fault(found);
  return false;
}

// A tile whose flips are found, of this block's samples.
template <class C>
__device__ __noinline__ void pass_samples(const Load& load, const Tile& tile, TileScratch& scratch,
                                          const void* in, void* out) {
  const auto* from = static_cast<const typename C::Unsigned*>(in);
  auto* to = static_cast<typename C::Unsigned*>(out);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t sample = blockIdx.y; sample < load.shape.batch; sample += gridDim.y) {
    if constexpr (C::kCorrectable) {
      if (load.conversion.correction != Correction::kNone) {
        tile_elements<C, true>(load, tile, scratch, sample, from, to, thread, kThreads);
        continue;
      }
    }
    tile_elements<C, false>(load, tile, scratch, sample, from, to, thread, kThreads);
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    corrupt_kernel(const __grid_constant__ DeviceLoad device, ValueType value, Storage storage,
                   const void* in, void* out) {
  __shared__ TileScratch scratch;
  Load load;
  const auto width = static_cast<uint64_t>(storage_bits(storage));
  if (!make_load(device, width, load)) {
    const int64_t block = blockIdx.y * static_cast<int64_t>(gridDim.x) + blockIdx.x;
    const int64_t blocks = static_cast<int64_t>(gridDim.x) * gridDim.y;
    poison(out,
           load.shape.sample_size() * load.shape.batch * (storage_bits(own_storage(value)) / 8),
           block * kThreads + threadIdx.x, blocks * kThreads);
    return;
  }
  const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) * width;
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
      visit_codec(value, storage, [&]<ValueType kValue, Storage kStorage>() {
        pass_samples<Codec<kValue, kStorage>>(load, tile, scratch, in, out);
      });
    }
    turn -= grid.tiles;
  }
}

}  // namespace

cudaError_t launch(const DeviceLoad& load, ValueType value, Storage storage, const void* in,
                   void* out, cudaStream_t stream) {
  // As many as a single region of whole tiles would have; what else there is, is strided over.
  const int64_t tiles = load.shape.sample_size() / (kTileCells / storage_bits(storage)) + 1;
  const int64_t columns = std::min(tiles, kBlocksWanted);
  const int64_t rows = std::min(load.shape.batch, std::max<int64_t>(1, kBlocksWanted / columns));
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(columns), static_cast<unsigned>(rows), 1};
  config.blockDim = {kThreads, 1, 1};
  config.stream = stream;
  return cudaLaunchKernelEx(&config, corrupt_kernel, load, value, storage, in, out);
}

}  // namespace eden::cuda
