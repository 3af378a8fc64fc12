// Does the machine on which the tests run kernels keep CUDA's order, and tell who breaks it?
#include "catch2.h"
#include "cuda_runtime.h"

namespace {

constexpr unsigned kThreads = 64;

void run(unsigned blocks, void (*kernel)(uint32_t*), uint32_t* out) {
  cudaLaunchConfig_t config;
  config.gridDim.x = blocks;
  config.blockDim.x = kThreads;
  cudaLaunchKernelEx(&config, kernel, out);
}

__global__ void sum_of_block(uint32_t* out) {
  __shared__ uint32_t warps[kThreads / 32];
  uint32_t sum = threadIdx.x + 100 * blockIdx.x;
  for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = warps[0] + warps[1] + gridDim.x + blockDim.x;
}

__global__ void votes(uint32_t* out) {
  const unsigned odd = __ballot_sync(~0u, threadIdx.x % 2);
  const unsigned third = __shfl_sync(~0u, threadIdx.x, 3);
  atomicOr(out, odd);
  atomicAdd(out + 1, third);
  __syncwarp();
  atomicAdd(out + 2, __ballot_sync(0xffffu << (threadIdx.x & 16), 1));
}

__global__ void order(uint32_t* out) {
  const uint32_t turn = atomicAdd(out + kThreads, 1);
  out[turn] = threadIdx.x;
}

__global__ void leaves_early(uint32_t*) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

__global__ void parts(uint32_t*) {
  if (threadIdx.x < 40) __syncwarp();
}

}  // namespace

TEST_CASE("threads meet at barriers and exchange what their warp brings") {
  uint32_t sums[3] = {};
  run(3, sum_of_block, sums);
  for (uint32_t block = 0; block < 3; ++block) {
    CHECK(sums[block] == 63 * 32 + 100 * 64 * block + 3 + kThreads);
  }
  uint32_t found[3] = {};
  run(1, votes, found);
  CHECK(found[0] == 0xaaaaaaaau);
  CHECK(found[1] == 32 * 3 + 32 * 35);
  CHECK(found[2] == 32u * (0xffffu + 0xffff0000u));
}

TEST_CASE("a seed decides the order of threads") {
  const auto order_of = [](uint64_t seed) {
    simt::seed = seed;
    std::vector<uint32_t> turns(kThreads + 1);
    run(1, order, turns.data());
    return turns;
  };
  CHECK(order_of(7) == order_of(7));
  CHECK(order_of(7) != order_of(8));
  auto sorted = order_of(9);
  std::sort(sorted.begin(), sorted.end());
  for (uint32_t i = 0; i < kThreads; ++i) CHECK(sorted[i] == i);
}

TEST_CASE("who never comes is told, and the next launch runs") {
  uint32_t none = 0;
  CHECK_THROWS_AS(run(1, leaves_early, &none), simt::Stuck);
  CHECK_THROWS_AS(run(1, parts, &none), simt::Stuck);
  uint32_t sum = 0;
  run(1, sum_of_block, &sum);
  CHECK(sum == 63 * 32 + 1 + kThreads);
}
