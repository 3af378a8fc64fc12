#include <algorithm>
#include <atomic>
#include <vector>

#include "memory/storage/clip.h"
#include "ops/corrupt.h"
#include "ops/cpu/channels.h"
#include "ops/cpu/output_pool.h"

namespace eden::ops {
namespace {

// Elements that one thread takes at a time: enough to be worth waking it for.
constexpr int64_t kElementsPerPiece = 1 << 15;

struct Clip {
  ValueType value;
  ChannelRows rows;
  std::vector<PassingValues> passing;  // by channel, or one for all
};

Clip check_clip(const char* name, const Tensor& x, const std::optional<Tensor>& scale,
                const std::optional<Tensor>& zero_point, int64_t storage, int64_t channel_dim) {
  const auto form = static_cast<Storage>(storage);
  Clip clip{value_type(x), channel_rows(name, x, channel_dim), {}};
  STD_TORCH_CHECK(is_float(clip.value), "eden::", name, ": x must be float32, float16 or bfloat16");
  STD_TORCH_CHECK(
      form == Storage::kSign || (is_quantized(form) && can_store(ValueType::kFloat32, form)),
      "eden::", name, ": storage is ", storage, ", which keeps no codes");
  if (scale) {
    check_tensor(*scale, "scale", ScalarType::Float, x);
    // As in the formula with tensors, one scale serves all channels.
    if (scale->numel() == 1) clip.rows = {1, 1, x.numel()};
    STD_TORCH_CHECK(scale->numel() == clip.rows.channels, "eden::", name, ": scale has ",
                    scale->numel(), " elements; allowed is ", clip.rows.channels);
  } else {
    clip.rows = {1, 1, x.numel()};
  }
  if (zero_point) {
    check_tensor(*zero_point, "zero_point", ScalarType::Int, x);
    STD_TORCH_CHECK(zero_point->numel() == clip.rows.channels, "eden::", name, ": zero_point has ",
                    zero_point->numel(), " elements; allowed is ", clip.rows.channels);
  }
  const auto* scales = scale ? static_cast<const float*>(scale->const_data_ptr()) : nullptr;
  const auto* points =
      zero_point ? static_cast<const int32_t*>(zero_point->const_data_ptr()) : nullptr;
  clip.passing.reserve(static_cast<size_t>(clip.rows.channels));
  for (int64_t c = 0; c < clip.rows.channels; ++c) {
    const Codes codes{scales != nullptr ? scales[c] : 1.0f, points != nullptr ? points[c] : 0};
    clip.passing.push_back(passing_values(form, codes, points != nullptr));
  }
  return clip;
}

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

// Whether elements of two tensors that lie at the same place of their memory are the same element.
bool share_layout(const Tensor& a, const Tensor& b, const Clip& clip) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  return clip.rows.rows == 1 && is_dense(a) && is_dense(b) && a.strides().equals(b.strides());
}

Tensor clip_gradient(Tensor grad, Tensor x, std::optional<Tensor> scale,
                     std::optional<Tensor> zero_point, int64_t storage, int64_t channel_dim) {
  const Clip clip = check_clip("clip_gradient", x, scale, zero_point, storage, channel_dim);
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() && grad.sizes().equals(x.sizes()) &&
                      grad.device() == x.device(),
                  "eden::clip_gradient: grad must have the shape, dtype and device of x");
  const bool as_they_lie = share_layout(grad, x, clip);
  const Tensor from = as_they_lie ? grad : dense(grad), values = as_they_lie ? x : dense(x);
  Tensor out = empty_output(from);
  auto* results = static_cast<char*>(out.mutable_data_ptr());
  for_stretches(clip, x.numel(), [&](int64_t first, int64_t count, PassingValues passing) {
    eden::clip_gradient(clip.value, at(from, first), at(values, first), count, passing,
                        results + first * out.element_size());
    return true;
  });
  return out;
}

bool clips(Tensor x, std::optional<Tensor> scale, std::optional<Tensor> zero_point, int64_t storage,
           int64_t channel_dim) {
  const Clip clip = check_clip("clips", x, scale, zero_point, storage, channel_dim);
  const Tensor values = share_layout(x, x, clip) ? x : dense(x);
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
