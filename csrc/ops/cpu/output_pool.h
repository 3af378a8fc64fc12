// Where the results of the CPU operators lie.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "base/block_pool.h"

namespace eden::ops {

BlockPool& output_pool();

// An uninitialized CPU tensor with the shape, strides and dtype of torch.empty_like(x). From 64 KiB
// on its memory is kept for later results once the tensor is gone, as long as the idle memory stays
// within EDEN_CACHE_BYTES (an environment variable, read once; 2^30 unless given, 0 keeps none).
// Such a tensor is as any other except that its storage, like that of a tensor over NumPy's memory,
// cannot be resized.
torch::stable::Tensor empty_output(const torch::stable::Tensor& x);

}  // namespace eden::ops
