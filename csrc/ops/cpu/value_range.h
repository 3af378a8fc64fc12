// The ranges of a CPU tensor's values.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "memory/storage/value_range.h"
#include "ops/channels.h"

namespace eden::ops {

// Of each channel of a row-major tensor of at least one element; in pieces of a fixed size,
// whatever threads there are.
std::vector<ValueRange> channel_ranges(ValueType type, const torch::stable::Tensor& x,
                                       const ChannelRows& rows);

}  // namespace eden::ops
