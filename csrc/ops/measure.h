// What the launchers of every device share where they measure a tensor, or clip a gradient: checked
// arguments, and tensors for the results.
#pragma once

#include "ops/channels.h"
#include "ops/corrupt.h"

namespace eden::ops {

struct MeasureArguments {
  ValueType value;
  Storage storage;
  bool coded, affine;
  ChannelRows rows;
  Tensor scale, zero_point, bounds;  // without elements where they are not asked for
};

inline MeasureArguments check_measure(const Tensor& x, int64_t storage, bool affine, bool bounded,
                                      int64_t channel_dim) {
  const auto form = static_cast<Storage>(storage);
  const ValueType value = value_type(x);
  STD_TORCH_CHECK(is_float(value), "eden::measure_range: x must be float32, float16 or bfloat16");
  STD_TORCH_CHECK(can_store(value, form), "eden::measure_range: storage is ", storage,
                  ", which cannot hold x");
  STD_TORCH_CHECK(x.numel() > 0, "eden::measure_range: x has no elements");
  const ChannelRows rows = channel_rows("measure_range", x, channel_dim);
  const bool coded = is_quantized(form);
  const auto vector_of = [&](bool wanted, ScalarType dtype) {
    std::vector<int64_t> shape;
    if (!wanted) {
      shape = {0};
    } else if (channel_dim >= 0) {
      shape = {rows.channels};
    }
    return torch::stable::new_empty(x, shape, dtype);
  };
  return {value,
          form,
          coded,
          affine,
          rows,
          vector_of(coded, ScalarType::Float),
          vector_of(coded && affine, ScalarType::Int),
          torch::stable::new_empty(x, {bounded ? 2 : 0}, ScalarType::Float)};
}

// What passes a gradient on: values within bounds or, without them, those that codes do not clip.
struct ClipArguments {
  ValueType value;
  Storage storage;
  ChannelRows rows;
  std::optional<Tensor> scale, zero_point, bounds;
};

inline ClipArguments check_clip(const char* name, const Tensor& x, std::optional<Tensor> scale,
                                std::optional<Tensor> zero_point, int64_t storage,
                                int64_t channel_dim, std::optional<Tensor> bounds) {
  const auto form = static_cast<Storage>(storage);
  const ValueType value = value_type(x);
  ChannelRows rows = channel_rows(name, x, channel_dim);
  STD_TORCH_CHECK(is_float(value), "eden::", name, ": x must be float32, float16 or bfloat16");
  if (bounds) {
    STD_TORCH_CHECK(
        !scale && !zero_point, "eden::", name,
        ": bounds were given with a scale or a zero_point; allowed is one or the other");
    check_field(*bounds, "bounds", ScalarType::Float, 2, x);
    return {value, form, {1, 1, x.numel()}, {}, {}, std::move(bounds)};
  }
  STD_TORCH_CHECK(
      form == Storage::kSign || (is_quantized(form) && can_store(ValueType::kFloat32, form)),
      "eden::", name, ": storage is ", storage, ", which keeps no codes");
  if (scale) {
    check_tensor(*scale, "scale", ScalarType::Float, x);
    // As in the formula with tensors, one scale serves all channels.
    if (scale->numel() == 1) rows = {1, 1, x.numel()};
    STD_TORCH_CHECK(scale->numel() == rows.channels, "eden::", name, ": scale has ", scale->numel(),
                    " elements; allowed is ", rows.channels);
  } else {
    rows = {1, 1, x.numel()};
  }
  if (zero_point) {
    check_tensor(*zero_point, "zero_point", ScalarType::Int, x);
    STD_TORCH_CHECK(zero_point->numel() == rows.channels, "eden::", name, ": zero_point has ",
                    zero_point->numel(), " elements; allowed is ", rows.channels);
  }
  return {value, form, rows, std::move(scale), std::move(zero_point), {}};
}

inline void check_gradient(const Tensor& grad, const Tensor& x) {
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() && grad.sizes().equals(x.sizes()) &&
                      grad.device() == x.device(),
                  "eden::clip_gradient: grad must have the shape, dtype and device of x");
}

}  // namespace eden::ops
