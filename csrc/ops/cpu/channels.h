// A CPU tensor as rows, each of one channel, and the ranges of its values.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <vector>

#include "memory/storage/value_range.h"

namespace eden::ops {

struct ChannelRows {
  int64_t channels = 1;
  int64_t rows = 1;    // row i is of channel i % channels
  int64_t length = 0;  // elements of a row
};

// Of a row-major tensor; without channels it is one row.
inline ChannelRows channel_rows(const char* name, const torch::stable::Tensor& x,
                                int64_t channel_dim) {
  STD_TORCH_CHECK(channel_dim >= -1 && channel_dim < (x.dim() > 0 ? x.dim() : 1), "eden::", name,
                  ": channel_dim is ", channel_dim, ", x has ", x.dim(), " dimensions");
  if (channel_dim < 0 || x.dim() == 0) return {1, 1, x.numel()};
  ChannelRows result{x.size(channel_dim), 1, 1};
  for (int64_t d = 0; d < x.dim(); ++d)
    (d <= channel_dim ? result.rows : result.length) *= x.size(d);
  return result;
}

// The ranges of each channel of a row-major tensor of at least one element; in pieces of a fixed
// size, whatever threads there are.
std::vector<ValueRange> channel_ranges(ValueType type, const torch::stable::Tensor& x,
                                       const ChannelRows& rows);

}  // namespace eden::ops
