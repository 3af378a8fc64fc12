// What lets one header be compiled for the host and for a CUDA device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define EDEN_HOST_DEVICE __host__ __device__
#else
#define EDEN_HOST_DEVICE
#endif
