// Where the elements of a strided tensor lie.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace eden {

// A tensor, in row-major order, as rows of consecutive elements that lie wherever outer dimensions
// say.
struct Rows {
  static constexpr int kMostDims = 3;

  int64_t length = std::numeric_limits<int64_t>::max();
  int dims = 0;  // outer ones, the innermost first; none of a dense tensor
  int64_t sizes[kMostDims] = {};
  int64_t strides[kMostDims] = {};

  // None where neighbours in a row do not lie side by side, or where rows have too many strides.
  template <class Numbers>
  static std::optional<Rows> of(const Numbers& tensor_sizes, const Numbers& tensor_strides) {
    Rows rows;
    rows.length = 1;
    for (auto d = tensor_sizes.size(); d-- > 0;) {
      const int64_t size = tensor_sizes[d], stride = tensor_strides[d];
      if (size == 1) continue;
      const int last = rows.dims - 1;
      if (rows.dims == 0 && stride == rows.length) {
        rows.length *= size;
      } else if (rows.dims != 0 && stride == rows.strides[last] * rows.sizes[last]) {
        rows.sizes[last] *= size;
      } else {
        if (rows.length == 1 || rows.dims == kMostDims) return {};
        rows.sizes[rows.dims] = size;
        rows.strides[rows.dims++] = stride;
      }
    }
    if (rows.dims == 0) return Rows{};
    return rows;
  }

  bool dense() const { return dims == 0; }
  // Elements from one on that lie side by side, at least.
  int64_t left(int64_t index) const { return dense() ? length : length - index % length; }
  // Where an element lies, from the tensor's first one on.
  int64_t place(int64_t index) const {
    if (dense()) return index;
    int64_t row = index / length, at = index % length;
    for (int d = 0; d + 1 < dims; ++d) {
      at += row % sizes[d] * strides[d];
      row /= sizes[d];
    }
    return at + row * strides[dims - 1];
  }
  // Whether no two elements share memory; said of rows that do not lie between one another alone.
  bool disjoint() const {
    uint32_t left_over = (1u << dims) - 1;
    for (int64_t reach = length; left_over != 0;) {
      int nearest = -1;
      for (int d = 0; d < dims; ++d) {
        if ((left_over >> d & 1) != 0 && (nearest < 0 || strides[d] < strides[nearest])) {
          nearest = d;
        }
      }
      if (strides[nearest] < reach) return false;
      reach += (sizes[nearest] - 1) * strides[nearest];
      left_over &= ~(1u << nearest);
    }
    return true;
  }
};

}  // namespace eden
