// Which strided tensors of the CPU are read, or written, where they lie.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "memory/corrupt/rows.h"

namespace eden::ops {

// Of shorter rows a dense copy costs less than the search for where each begins.
constexpr int64_t kLeastRowBytes = 512;

// None where a dense copy is to be made.
inline std::optional<Rows> long_rows(const torch::stable::Tensor& x) {
  if (x.is_contiguous()) return Rows{};
  std::optional<Rows> rows = Rows::of(x.sizes(), x.strides());
  if (rows && rows->length < kLeastRowBytes / static_cast<int64_t>(x.element_size())) return {};
  return rows;
}

}  // namespace eden::ops
