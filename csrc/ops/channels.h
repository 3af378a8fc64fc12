// How a tensor's elements lie, and as rows of one channel each.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "memory/storage/value_range.h"

namespace eden::ops {

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

// Whether the elements lie in memory without gaps or overlap, in any order of the dimensions.
inline bool is_dense(const torch::stable::Tensor& x) {
  if (x.is_contiguous()) return true;
  const auto sizes = x.sizes(), strides = x.strides();
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1) order.push_back(d);
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return strides[a] < strides[b]; });
  int64_t expected = 1;
  for (const std::size_t d : order) {
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

// Whether elements of two tensors that lie at the same place of their memory are the same element,
// or of the same channel.
inline bool share_layout(const torch::stable::Tensor& a, const torch::stable::Tensor& b,
                         const ChannelRows& rows) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  return rows.rows == 1 && is_dense(a) && is_dense(b) && a.strides().equals(b.strides());
}

}  // namespace eden::ops
