#include <algorithm>
#include <tuple>
#include <vector>

#include "memory/storage/value_range.h"
#include "ops/cpu/channel_ranges.h"
#include "ops/cpu/strided.h"
#include "ops/measure.h"

namespace eden::ops {

std::vector<ValueRange> channel_ranges(ValueType type, const Tensor& x, const ChannelRows& rows) {
  constexpr int64_t kElementsPerPiece = 1 << 15;
  const std::optional<Rows> strided = long_rows(x);
  const Tensor source = strided ? x : dense(x);
  const Rows lie = strided.value_or(Rows{});
  const auto* data = static_cast<const char*>(source.const_data_ptr());
  const int64_t bytes = x.element_size();
  const auto range = [&](int64_t first, int64_t count) {
    const auto of_row = [&](int64_t at, int64_t most) {
      return range_of(type, data + lie.place(at) * bytes, std::min(most, lie.left(at)));
    };
    ValueRange all = of_row(first, count);
    for (int64_t done = lie.left(first); done < count; done += lie.length) {
      all = joined(all, of_row(first + done, count - done));
    }
    return all;
  };
  if (rows.rows == 1 && rows.length <= kElementsPerPiece) return {range(0, rows.length)};
  const int64_t in_row = (rows.length + kElementsPerPiece - 1) / kElementsPerPiece;
  std::vector<ValueRange> pieces(static_cast<size_t>(rows.rows * in_row));
  const int64_t grain = std::max<int64_t>(1, kElementsPerPiece / rows.length);
  torch::stable::parallel_for(0, rows.rows * in_row, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i % in_row * kElementsPerPiece;
      const int64_t count = std::min(kElementsPerPiece, rows.length - begin);
      pieces[static_cast<size_t>(i)] = range(i / in_row * rows.length + begin, count);
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
  MeasureArguments asked = check_measure(x, storage, affine, bounded, channel_dim);
  const std::vector<ValueRange> ranges = channel_ranges(asked.value, x, asked.rows);
  if (asked.coded) {
    auto* scales = static_cast<float*>(asked.scale.mutable_data_ptr());
    auto* points = affine ? static_cast<int32_t*>(asked.zero_point.mutable_data_ptr()) : nullptr;
    for (size_t c = 0; c < ranges.size(); ++c) {
      const Codes codes = codes_for(asked.storage, affine, ranges[c]);
      scales[c] = codes.scale;
      if (points != nullptr) points[c] = codes.zero_point;
    }
  }
  if (bounded) {
    ValueRange all = ranges[0];
    for (const ValueRange& range : ranges) all = joined(all, range);
    auto* ends = static_cast<float*>(asked.bounds.mutable_data_ptr());
    ends[0] = all.low;
    ends[1] = all.high;
  }
  return {asked.scale, asked.zero_point, asked.bounds};
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("measure_range", TORCH_BOX(&eden::ops::measure_range));
}
