// The kernels' own sources, as C++.
#include "ops/cuda/codes.cu"
#include "ops/cuda/kernel.cu"
#include "ops/cuda/measure.cu"
#include "ops/cuda/planes.cu"
