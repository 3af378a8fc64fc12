#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "memory/storage/clip.h"
#include "ops/cpu/output_pool.h"
#include "ops/measure.h"

namespace eden::ops {
namespace {

// Elements that one thread takes at a time: enough to be worth waking it for.
constexpr int64_t kElementsPerPiece = 1 << 15;

struct Clip {
  ValueType value;
  ChannelRows rows;
  std::vector<PassingValues> passing;  // by channel, or one for all

  explicit Clip(const ClipArguments& arguments)
      : value(arguments.value), rows(arguments.rows), passing() {
    const auto numbers = [](const std::optional<Tensor>& tensor) {
      return tensor ? tensor->const_data_ptr() : nullptr;
    };
    if (const auto* bounds = static_cast<const float*>(numbers(arguments.bounds))) {
      all = std::isnan(bounds[0]);
      passing = {{bounds[0], bounds[1]}};
      return;
    }
    const auto* scales = static_cast<const float*>(numbers(arguments.scale));
    const auto* points = static_cast<const int32_t*>(numbers(arguments.zero_point));
    passing.reserve(static_cast<size_t>(rows.channels));
    for (int64_t c = 0; c < rows.channels; ++c) {
      const Codes codes{scales != nullptr ? scales[c] : 1.0f, points != nullptr ? points[c] : 0};
      passing.push_back(passing_values(arguments.storage, codes, points != nullptr));
    }
  }
  bool all = false;  // without bounds that count: everything passes
};

// Calls visit(first, count, passing) for stretches of one channel, on several threads; stops where
// visit says so.
template <class Visit>
void for_stretches(const Clip& clip, int64_t numel, Visit&& visit) {
  const int64_t length = std::max<int64_t>(clip.rows.length, 1);
  torch::stable::parallel_for(0, numel, kElementsPerPiece, [&](int64_t first, int64_t last) {
    while (first < last) {
      const int64_t row = first / length;
      const int64_t end = std::min(last, (row + 1) * length);
      if (!visit(first, end - first, clip.passing[static_cast<size_t>(row % clip.rows.channels)])) {
        return;
      }
      first = end;
    }
  });
}

const char* at(const Tensor& tensor, int64_t element) {
  return static_cast<const char*>(tensor.const_data_ptr()) + element * tensor.element_size();
}

Tensor clip_gradient(Tensor grad, Tensor x, std::optional<Tensor> scale,
                     std::optional<Tensor> zero_point, int64_t storage, int64_t channel_dim,
                     std::optional<Tensor> bounds) {
  const Clip clip(check_clip("clip_gradient", x, scale, zero_point, storage, channel_dim, bounds));
  check_gradient(grad, x);
  const bool as_they_lie = share_layout(grad, x, clip.rows);
  const Tensor from = as_they_lie ? grad : dense(grad), values = as_they_lie ? x : dense(x);
  Tensor out = empty_output(from);
  if (clip.all) {
    torch::stable::copy_(out, from);
    return out;
  }
  auto* results = static_cast<char*>(out.mutable_data_ptr());
  for_stretches(clip, x.numel(), [&](int64_t first, int64_t count, PassingValues passing) {
    eden::clip_gradient(clip.value, at(from, first), at(values, first), count, passing,
                        results + first * out.element_size());
    return true;
  });
  return out;
}

bool clips(Tensor x, std::optional<Tensor> scale, std::optional<Tensor> zero_point, int64_t storage,
           int64_t channel_dim, std::optional<Tensor> bounds) {
  const Clip clip(check_clip("clips", x, scale, zero_point, storage, channel_dim, bounds));
  if (clip.all) return false;
  const Tensor values = share_layout(x, x, clip.rows) ? x : dense(x);
  std::atomic<bool> found{false};
  for_stretches(clip, x.numel(), [&](int64_t first, int64_t count, PassingValues passing) {
    // In pieces, so that what one thread finds ends the others' search.
    for (int64_t end = first + count; first < end; first += kElementsPerPiece) {
      if (found.load(std::memory_order_relaxed)) return false;
      const int64_t length = std::min(kElementsPerPiece, end - first);
      if (any_outside(clip.value, at(values, first), length, passing)) {
        found.store(true, std::memory_order_relaxed);
        return false;
      }
    }
    return true;
  });
  return found.load(std::memory_order_relaxed);
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("clip_gradient", TORCH_BOX(&eden::ops::clip_gradient));
  m.impl("clips", TORCH_BOX(&eden::ops::clips));
}
