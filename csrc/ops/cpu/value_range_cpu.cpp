#include <algorithm>
#include <tuple>
#include <vector>

#include "memory/storage/value_range.h"
#include "ops/corrupt.h"
#include "ops/cpu/channels.h"

namespace eden::ops {

std::vector<ValueRange> channel_ranges(ValueType type, const Tensor& x, const ChannelRows& rows) {
  constexpr int64_t kElementsPerPiece = 1 << 15;
  if (rows.rows == 1 && rows.length <= kElementsPerPiece) {
    return {range_of(type, x.const_data_ptr(), rows.length)};
  }
  const auto* data = static_cast<const char*>(x.const_data_ptr());
  const int64_t bytes = x.element_size();
  const int64_t in_row = (rows.length + kElementsPerPiece - 1) / kElementsPerPiece;
  std::vector<ValueRange> pieces(static_cast<size_t>(rows.rows * in_row));
  const int64_t grain = std::max<int64_t>(1, kElementsPerPiece / rows.length);
  torch::stable::parallel_for(0, rows.rows * in_row, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i % in_row * kElementsPerPiece;
      const int64_t count = std::min(kElementsPerPiece, rows.length - begin);
      pieces[static_cast<size_t>(i)] =
          range_of(type, data + (i / in_row * rows.length + begin) * bytes, count);
    }
  });
  std::vector<ValueRange> channels;
  for (int64_t i = 0; i < rows.rows * in_row; ++i) {
    const auto channel = static_cast<size_t>(i / in_row % rows.channels);
    const ValueRange& range = pieces[static_cast<size_t>(i)];
    if (channel == channels.size()) {
      channels.push_back(range);
    } else {
      channels[channel] = joined(channels[channel], range);
    }
  }
  return channels;
}

namespace {

std::tuple<Tensor, Tensor, Tensor> measure_range(Tensor x, int64_t storage, bool affine,
                                                 bool bounded, int64_t channel_dim) {
  const auto form = static_cast<Storage>(storage);
  const ValueType type = value_type(x);
  STD_TORCH_CHECK(
      type == ValueType::kFloat32 || type == ValueType::kFloat16 || type == ValueType::kBFloat16,
      "eden::measure_range: x must be float32, float16 or bfloat16");
  STD_TORCH_CHECK(can_store(type, form), "eden::measure_range: storage is ", storage,
                  ", which cannot hold x");
  STD_TORCH_CHECK(x.numel() > 0, "eden::measure_range: x has no elements");
  const ChannelRows rows = channel_rows("measure_range", x, channel_dim);
  const Tensor values = dense(x);
  const std::vector<ValueRange> ranges = channel_ranges(type, values, rows);

  const bool coded = is_quantized(form);
  const auto vector_of = [&](bool wanted, ScalarType dtype) {
    const auto count = static_cast<int64_t>(ranges.size());
    std::vector<int64_t> shape;
    if (!wanted) {
      shape = {0};
    } else if (channel_dim >= 0) {
      shape = {count};
    }
    return torch::stable::new_empty(x, shape, dtype);
  };
  Tensor scale = vector_of(coded, ScalarType::Float);
  Tensor zero_point = vector_of(coded && affine, ScalarType::Int);
  if (coded) {
    auto* scales = static_cast<float*>(scale.mutable_data_ptr());
    auto* points = affine ? static_cast<int32_t*>(zero_point.mutable_data_ptr()) : nullptr;
    for (size_t c = 0; c < ranges.size(); ++c) {
      const Codes codes = codes_for(form, affine, ranges[c]);
      scales[c] = codes.scale;
      if (points != nullptr) points[c] = codes.zero_point;
    }
  }
  Tensor bounds = torch::stable::new_empty(x, {bounded ? 2 : 0}, ScalarType::Float);
  if (bounded) {
    ValueRange all = ranges[0];
    for (const ValueRange& range : ranges) all = joined(all, range);
    auto* ends = static_cast<float*>(bounds.mutable_data_ptr());
    ends[0] = all.low;
    ends[1] = all.high;
  }
  return {scale, zero_point, bounds};
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("measure_range", TORCH_BOX(&eden::ops::measure_range));
}
