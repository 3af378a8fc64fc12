// The number of marks in a block, a Poisson variable of mean 8, from one 64-bit number by an
// integer table.
#pragma once

#include "base/platform.h"

namespace eden {

inline constexpr int kMarksPerBlockLog2 = 3;  // the mean, 8
inline constexpr int kPoissonTableSize = 48;  // P(N > 47) < 2^-64

// kPoissonTable[k] = floor(2^64 P(N <= k)), clamped to 2^64 - 1.
#define EDEN_POISSON_TABLE                                                             \
  {0x0015fc21041027acu, 0x00c5dd2924916512u, 0x03856149a6965aaau, 0x0ad96c4b014e3ee8u, \
   0x1981824db6be0766u, 0x30f4d8b872a414fbu, 0x50394bf16d2c2717u, 0x73f53d571dc7a981u, \
   0x97b12ebcce632bebu, 0xb774affac0b48365u, 0xd0dde42c4f5bfc94u, 0xe358f2dbfced0ee4u, \
   0xefaafca670a31b1au, 0xf73feefba426d3d8u, 0xfb950bbe9d0461fcu, 0xfde4928cff9cadcbu, \
   0xff0c55f430e8d3b2u, 0xff9784bb572ac76au, 0xffd560a212d6502eu, 0xffef6c618a46f58eu, \
   0xfff9d77aed40d14eu, 0xfffdcf84990db74eu, 0xffff40fc7a6f7f4eu, 0xffffc17f3822342cu, \
   0xffffec55775dc5ccu, 0xfffffa0aaa521d5bu, 0xfffffe426b3ad5d6u, 0xffffff8258894563u, \
   0xffffffddc0e8d2f9u, 0xfffffff6f82f524eu, 0xfffffffdb1977443u, 0xffffffff6dd35bfeu, \
   0xffffffffdce255edu, 0xfffffffff7ceb18bu, 0xfffffffffe246cc0u, 0xffffffffff971b32u, \
   0xffffffffffe97adau, 0xfffffffffffb4a58u, 0xffffffffffff0a3du, 0xffffffffffffcf23u, \
   0xfffffffffffff685u, 0xfffffffffffffe34u, 0xffffffffffffffaau, 0xfffffffffffffff0u, \
   0xfffffffffffffffdu, 0xffffffffffffffffu, 0xffffffffffffffffu, 0xffffffffffffffffu}

#if defined(__CUDA_ARCH__)
__constant__ static const uint64_t kPoissonTable[kPoissonTableSize] = EDEN_POISSON_TABLE;
#else
inline constexpr uint64_t kPoissonTable[kPoissonTableSize] = EDEN_POISSON_TABLE;
#endif

EDEN_HOST_DEVICE inline int poisson_count(uint64_t uniform) {
  int count = 0;
  while (count < kPoissonTableSize - 1 && uniform >= kPoissonTable[count]) ++count;
  return count;
}

}  // namespace eden
