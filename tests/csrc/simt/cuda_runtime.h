// As much of CUDA as makes the kernels' sources C++, found in place of CUDA's own header: a launch
// runs every block on this machine, its threads as fibers whose order a seed decides (simt.cpp).
#pragma once

// Before __noinline__ gets a meaning, which the standard library uses for an attribute.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block runs at a time
#define __grid_constant__
#define __launch_bounds__(...)
#define __noinline__ __attribute__((noinline))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
using cudaStream_t = void*;
enum cudaError_t { cudaSuccess };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
// Few, so that a block has several tiles.
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  return *value = 1, cudaSuccess;
}
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace simt {

// A block whose threads cannot all go on: one waits for what another never reaches, or
// ThreadSanitizer has reported a race.
struct Stuck : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What decides in which order blocks and threads run; every launch takes the next number.
extern uint64_t seed;

// Mistakes that are planted to see them found.
struct Plant {
  int missing_barrier = 0;    // the line of a __syncthreads() or __syncwarp() that does nothing
  bool torn_atomics = false;  // atomics read, let others go on, and write
};
extern Plant plant;

// The lines of the barriers that threads came to.
extern std::set<int> barriers;
// Threads that were begun, by all launches.
int64_t threads_run();

void launch(const cudaLaunchConfig_t& config, const std::function<void()>& thread);
void block_barrier(int line);
void warp_barrier(int line, uint32_t mask);
// Lets threads go on that can.
void yield();
// The number that `lane` of the warp brings along.
uint64_t exchange(uint32_t mask, uint64_t mine, int lane);
uint32_t ballot(uint32_t mask, bool mine);

template <class Word, class Change>
Word atomic(Word* word, Change&& change) {
  if (plant.torn_atomics) {
    const Word old = *word;
    yield();
    *word = change(old);
    return old;
  }
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(word, &old, change(old), true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}

}  // namespace simt

// Of the thread that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
#define __syncthreads() ::simt::block_barrier(__LINE__)
#define __syncwarp(...) ::simt::warp_barrier(__LINE__, ~0u __VA_OPT__(&) __VA_ARGS__)

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = simt::exchange(mask, bits, lane);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ other);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return simt::ballot(mask, predicate != 0);
}
inline int __ffs(int word) { return __builtin_ffs(word); }
inline uint32_t atomicOr(uint32_t* word, uint32_t bits) {
  return simt::atomic(word, [bits](uint32_t old) { return old | bits; });
}
inline uint32_t atomicAdd(uint32_t* word, uint32_t more) {
  return simt::atomic(word, [more](uint32_t old) { return old + more; });
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  simt::launch(*config, [&] { kernel(static_cast<Parameters>(arguments)...); });
  return cudaSuccess;
}
