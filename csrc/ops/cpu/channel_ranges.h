// The ranges of the values of a CPU tensor's channels.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "memory/storage/value_range.h"

namespace eden::ops {

// Of a tensor of at least one element, copied where it is not read as it lies; in pieces of a fixed
// size, whatever threads there are.
std::vector<ValueRange> channel_ranges(ValueType type, const torch::stable::Tensor& x,
                                       const ChannelRows& rows);

}  // namespace eden::ops
