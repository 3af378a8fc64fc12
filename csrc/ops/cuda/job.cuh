// What the threads of a block know together. It lies in shared memory at places that the compiler
// knows, so that functions of kernels take no pointers to it, which would hold their registers.
#pragma once

#include <cuda_runtime.h>

#include <new>

#include "memory/region_check.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/tile.h"

namespace eden::cuda {

// Before a loop of which so many turns stand one after another, or one.
#if defined(__CUDA_ARCH__)
#define EDEN_PRAGMA(text) _Pragma(#text)
#define EDEN_TURNS(count) EDEN_PRAGMA(unroll count)
#else
#define EDEN_TURNS(count)
#endif
#define EDEN_ROLLED EDEN_TURNS(1)

inline constexpr int kThreads = 256;
inline constexpr int kWarp = 32;
inline constexpr int kBlocksOnMultiprocessor = 4;  // of 2,048 threads: half of them
inline constexpr int64_t kBlocksWanted = 2048;     // that fill any device a few times over

// Blocks that the current device holds at a time, where each has much to do before its first tile.
inline int64_t resident_blocks() {
  int device = 0, multiprocessors = 1;
  // What fails here fails at the launch as well.
  if (cudaGetDevice(&device) == cudaSuccess) {
    cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  }
  return int64_t{kBlocksOnMultiprocessor} * multiprocessors;
}

// What a thread reads and writes at once, in memory of values of any type.
inline constexpr int kVectorWords = 4;
struct __attribute__((may_alias, aligned(16))) Vector {
  uint32_t word[kVectorWords];
};

// All but the tile's flips; the first thread alone changes it.
struct Job {
  Load load;
  FoundFault fault;
  int64_t which = -1;  // region that is worked on
  Region region;
  TileGrid grid{};
  int64_t turn;  // among the region's tiles, this block's next one
  Tile tile;
  bool joined = false;  // the flips of planes are found, and joined as bits of words
  bool done = false;
};

__device__ inline unsigned char* job_room() {
  alignas(Job) __shared__ unsigned char room[sizeof(Job)];
  return room;
}
__device__ inline Job& job() { return *reinterpret_cast<Job*>(job_room()); }

// A job whose load is the device's; the first thread calls it.
__device__ inline Job& make_job(const DeviceLoad& device) {
  Job& job = *new (job_room()) Job;
  Load& load = job.load;
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
  job.turn = blockIdx.x;
  return job;
}

// What keeps words of `width` bits from being read that were not said to lie in planes.
__device__ inline FoundFault fault_here(const Load& load, uint64_t width) {
  const FoundFault found = find_fault(load, width);
  if (found.fault != RegionFault::kNone || !load.in_planes()) return found;
  return {RegionFault::kPlanesHere, 0};
}

__device__ inline TileScratch& scratch() {
  __shared__ TileScratch flips;
  return flips;
}

// What lies in shared memory is read again behind it, rather than held in registers over a loop, or
// over what few threads come to.
__device__ inline void let_go() { asm volatile("" ::: "memory"); }

// The block's next tile that holds cells of the operand: tiles of all regions are dealt to the
// blocks in turn, of all planes or, where their flips are joined, of the words.
__device__ inline void next_tile(const DeviceLoad& device) {
  Job& job = eden::cuda::job();
  const Load& load = job.load;
  scratch().reached = 0;
  for (;;) {
    for (; job.turn < job.grid.tiles; job.turn += gridDim.x) {
      let_go();
      job.tile.set(load, job.which, job.region, job.grid, job.turn);
      if (job.tile.patch.rows == 0) continue;
      job.turn += gridDim.x;
      return;
    }
    job.turn -= job.grid.tiles;
    ++job.which;
    job.done = job.which >= (job.joined ? 1 : load.region_count);
    if (job.done) return;
    job.region = job.joined ? region_of_found() : load.region(job.which);
    let_go();
    const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) *
                          plane_bits(job.region.plane, static_cast<uint64_t>(device.width));
    const uint64_t first = load.first_bit(job.which);
    job.done = first >= bits && job.region.plane == 0;
    if (job.done) return;
    const uint64_t end = PatchGrid::smaller(job.region.end, bits);
    let_go();
    job.grid = TileGrid::cut(job.region, first < end ? end - first : 0, device.tile_cells);
  }
}

// threadIdx.x, read anew: what is reckoned from it is not held over the loop through the tiles.
__device__ inline uint32_t this_thread() {
#if defined(__CUDA_ARCH__)
  uint32_t thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
#else
  return threadIdx.x;
#endif
}

}  // namespace eden::cuda
