// Found in place of CUDA's own where kernels are compiled for the host.
#pragma once
#include "cuda_runtime.h"
