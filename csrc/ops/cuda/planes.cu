// The kernel that finds the flips of an operand in planes, each in its own cells, and joins them as
// bits of words: two masks of all of a sample's words, which the read of the words then takes in
// place of flips of its own (kernel.cu).
#include <cuda_runtime.h>

#include <algorithm>

#include "ops/cuda/find.cuh"
#include "ops/cuda/kernel.h"

namespace eden::cuda {
namespace {

// Bit `index` of a mask's ones, from the lowest on.
__device__ inline uint32_t place_of(uint32_t mask, uint32_t index) {
  for (; index > 0; --index) mask &= mask - 1;
  return static_cast<uint32_t>(__ffs(static_cast<int>(mask)) - 1);
}

// A tile's flips to their places in words of `width` bits.
__device__ inline void join_words(const Tile& tile, const TileScratch& scratch, uint32_t width,
                                  const PlaneMasks& masks) {
  const uint32_t plane = tile.region.plane;
  const auto bits = static_cast<uint32_t>(plane_bits(plane, width));
  EDEN_ROLLED
  for (uint32_t w = threadIdx.x; w < tile.mask_words(); w += kThreads) {
    const uint32_t zero = scratch.masks[w], one = scratch.masks[tile.one() + w];
    const uint64_t row = tile.patch.origin + w / tile.pitch * tile.patch.stride;
    const uint64_t begin = PatchGrid::larger(row, tile.begin);
    const uint64_t end = PatchGrid::smaller(row + tile.patch.columns, tile.end);
    const uint64_t first = tile.group(w) << kGroupBits;
    EDEN_ROLLED
    for (uint32_t left = zero | one; left != 0; left &= left - 1) {
      const auto bit = static_cast<uint32_t>(__ffs(static_cast<int>(left)) - 1);
      const uint64_t cell = first + bit;
      // A group reaches beyond the tile, whose own flips alone are known.
      if (cell < begin || cell >= end) continue;
      const uint64_t of_plane = cell - tile.zero_cell, element = of_plane / bits;
      const uint64_t place =
          element * width + place_of(plane, static_cast<uint32_t>(of_plane - element * bits));
      const uint32_t flip = uint32_t{1} << (place & (kGroupCells - 1));
      if (zero >> bit & 1) atomicOr(masks.zero + (place >> kGroupBits), flip);
      if (one >> bit & 1) atomicOr(masks.one + (place >> kGroupBits), flip);
    }
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    planes_kernel(const __grid_constant__ DeviceLoad device) {
  if (threadIdx.x == 0) {
    Job& job = make_job(device);
    job.fault = find_fault(job.load, static_cast<uint64_t>(device.width));
  }
  __syncthreads();
  // The read of the words says so.
  if (job().fault.fault != RegionFault::kNone || !job().load.in_planes()) return;
  for (;;) {
    __syncthreads();  // the masks of the tile before are still being read
    if (threadIdx.x == 0) {
      next_tile(device);
    }
    __syncthreads();
    if (job().done) return;
    find_flips(job().load, job().tile, scratch());
    join_words(job().tile, scratch(), static_cast<uint32_t>(device.width), device.planes);
  }
}

}  // namespace

int64_t plane_mask_words(const LoadShape& shape, Storage storage) {
  return (shape.sample_size() * storage_bits(storage) + kGroupCells - 1) / kGroupCells;
}

cudaError_t find_planes(DeviceLoad load, Storage storage, cudaStream_t stream) {
  load.width = storage_bits(storage);
  const int64_t cells = load.shape.sample_size() * load.width;
  load.tile_cells = tile_cells_of(cells, 1, load.tile_cells);
  cudaLaunchConfig_t config{};
  const int64_t blocks = std::min(cells / load.tile_cells + 1, resident_blocks());
  config.gridDim = {static_cast<unsigned>(blocks), 1, 1};
  config.blockDim = {kThreads, 1, 1};
  config.stream = stream;
  return cudaLaunchKernelEx(&config, planes_kernel, load);
}

}  // namespace eden::cuda
