// The kernel of every codec and model: a block of threads for each tile of tile.h. What all its
// threads know of a tile lies in shared memory, found by the first one (job.cuh); then all look for
// flips (find.cuh) and pass the elements (pass.cuh). A kernel for each model would have no fewer
// registers, as what finds the cells of one wants all that there are, and compile every codec anew.
#include <cuda_runtime.h>

#include <algorithm>

#include "ops/cuda/find.cuh"
#include "ops/cuda/kernel.h"
#include "ops/cuda/pass.cuh"

namespace eden::cuda {
namespace {

__device__ inline void begin(const DeviceLoad& device) {
  Job& job = make_job(device);
  const auto width = static_cast<uint64_t>(device.width);
  job.joined = device.planes.zero != nullptr && job.load.in_planes();
  job.fault = job.joined ? find_fault(job.load, width) : fault_here(job.load, width);
}

// A tile's flips from those of all words.
__device__ inline void recall_flips(const Tile& tile, TileScratch& scratch, const PlaneMasks& of) {
  for (uint32_t w = threadIdx.x; w < tile.mask_words(); w += kThreads) {
    scratch.masks[w] = of.zero[tile.group(w)];
    scratch.masks[tile.one() + w] = of.one[tile.group(w)];
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads, kBlocksOnMultiprocessor)
    corrupt_kernel(const __grid_constant__ DeviceLoad device, ValueType value, Storage storage,
                   const void* in, void* out) {
  if (threadIdx.x == 0) begin(device);
  __syncthreads();
  const Load& load = job().load;
  const Tile& tile = job().tile;
  if (job().fault.fault != RegionFault::kNone) {
    const int64_t block = blockIdx.y * static_cast<int64_t>(gridDim.x) + blockIdx.x;
    const int64_t blocks = static_cast<int64_t>(gridDim.x) * gridDim.y;
    if (block + threadIdx.x == 0) *device.complaint = pack_fault(job().fault);
    poison(out, load.shape.sample_size() * load.shape.batch * device.value_bytes,
           block * kThreads + threadIdx.x, blocks * kThreads);
    return;
  }
  for (;;) {
    __syncthreads();  // the tile before is still being read, and its masks
    if (threadIdx.x == 0) {
      next_tile(device);
    }
    __syncthreads();
    if (job().done) return;
    fetch_elements(load, tile, device.value_bytes, device.width, in);
    if (job().joined) {
      recall_flips(tile, scratch(), device.planes);
    } else {
      find_flips(load, tile, scratch());
    }
    visit_codec(value, storage, [&]<ValueType kValue, Storage kStorage>() {
      pass_samples<Codec<kValue, kStorage>>(in, out);
    });
  }
}

}  // namespace

cudaError_t launch(DeviceLoad load, ValueType value, Storage storage, const void* in, void* out,
                   cudaStream_t stream) {
  load.width = storage_bits(storage);
  load.value_bytes = storage_bits(own_storage(value)) / 8;
  const int64_t cells = load.shape.sample_size() * load.width;
  load.tile_cells = tile_cells_of(cells, load.shape.batch, load.tile_cells);
  // As many as a single region of whole tiles would have; what else there is, is strided over.
  // Samples that share their cells pass through one block's masks; where there are fewer tiles than
  // blocks wanted, more blocks find the same masks again.
  const int64_t blocks = resident_blocks();
  const int64_t columns = std::min(cells / load.tile_cells + 1, blocks);
  const int64_t rows = std::min(load.shape.batch, std::max<int64_t>(1, blocks / columns));
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(columns), static_cast<unsigned>(rows), 1};
  config.blockDim = {kThreads, 1, 1};
  config.stream = stream;
  return cudaLaunchKernelEx(&config, corrupt_kernel, load, value, storage, in, out);
}

}  // namespace eden::cuda
