// What lets one header be compiled for the host and for a CUDA device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define EDEN_HOST_DEVICE __host__ __device__
#else
#define EDEN_HOST_DEVICE
#endif

// For functions that are also called in a translation unit compiled for an instruction set: they
// leave no copy of their own there, which the linker might keep for everybody.
#define EDEN_ALWAYS_INLINE EDEN_HOST_DEVICE inline __attribute__((always_inline))
