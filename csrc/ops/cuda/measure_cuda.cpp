#include <torch/csrc/stable/accelerator.h>

#include <tuple>

#include "ops/cuda/launch.h"
#include "ops/cuda/measure.h"
#include "ops/measure.h"

namespace eden::ops {
namespace {

template <class T>
T* results(Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<T*>(tensor.mutable_data_ptr());
}

// `clipped` may be null.
void launch_measure(const Tensor& x, MeasureArguments& asked, bool* clipped) {
  const int32_t device = x.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  use_device(x);
  const Tensor values = dense(x);
  Tensor ranges = torch::stable::new_empty(
      x, {2 * asked.rows.channels * cuda::parts_of(asked.rows)}, ScalarType::Float);
  const cuda::MeasuredCodes codes{results<float>(asked.scale), results<int32_t>(asked.zero_point),
                                  results<float>(asked.bounds), clipped};
  check_cuda(cuda::measure(asked.value, asked.storage, values.const_data_ptr(), asked.rows,
                           results<float>(ranges), codes, current_stream(device)),
             "the kernels that measure were not launched");
}

std::tuple<Tensor, Tensor, Tensor> measure_range(Tensor x, int64_t storage, bool affine,
                                                 bool bounded, int64_t channel_dim) {
  MeasureArguments asked = check_measure(x, storage, affine, bounded, channel_dim);
  launch_measure(x, asked, nullptr);
  return {asked.scale, asked.zero_point, asked.bounds};
}

std::tuple<Tensor, Tensor> corrupt_measured(Tensor x, Tensor region, std::optional<Tensor> table,
                                            Tensor chip, Tensor access, int64_t storage,
                                            bool affine, int64_t channel_dim) {
  CorruptArguments arguments =
      check_arguments(x, region, table, chip, access, {}, {}, {}, storage, channel_dim, -1, true);
  const bool coded = is_coded(arguments);
  Tensor out = torch::stable::empty_like(x);
  Tensor flag = torch::stable::new_empty(x, {}, ScalarType::Bool);
  if (x.numel() == 0) {
    torch::stable::zero_(flag);
    return {out, flag};
  }
  MeasureArguments asked = check_measure(x, storage, affine, true, coded ? channel_dim : -1);
  launch_measure(x, asked, static_cast<bool*>(flag.mutable_data_ptr()));
  // Whether the bounds count, the region says, which lies on the device.
  arguments = check_arguments(x, region, table, chip, access,
                              coded ? std::optional(asked.scale) : std::nullopt,
                              coded && affine ? std::optional(asked.zero_point) : std::nullopt,
                              asked.bounds, storage, coded ? channel_dim : -1, -1);
  launch_where_they_lie<torch::stable::empty_like>(
      x, out, [](const Tensor&, bool) { return false; },
      [&](const Tensor& source, Tensor& result) { launch_cuda(source, arguments, result); });
  return {out, flag};
}

Tensor clip_gradient(Tensor grad, Tensor x, std::optional<Tensor> scale,
                     std::optional<Tensor> zero_point, int64_t storage, int64_t channel_dim,
                     std::optional<Tensor> bounds) {
  const ClipArguments clip =
      check_clip("clip_gradient", x, scale, zero_point, storage, channel_dim, bounds);
  check_gradient(grad, x);
  const bool as_they_lie = share_layout(grad, x, clip.rows);
  const Tensor from = as_they_lie ? grad : dense(grad), values = as_they_lie ? x : dense(x);
  Tensor out = torch::stable::empty_like(from);
  if (x.numel() == 0) return out;
  const int32_t device = x.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  use_device(x);
  const cuda::DeviceClip rule{clip.storage, data<float>(clip.scale), data<int32_t>(clip.zero_point),
                              data<float>(clip.bounds)};
  check_cuda(cuda::clip_gradient(clip.value, rule, from.const_data_ptr(), values.const_data_ptr(),
                                 clip.rows, out.mutable_data_ptr(), current_stream(device)),
             "the kernel that clips was not launched");
  return out;
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CUDA, m) {
  m.impl("measure_range", TORCH_BOX(&eden::ops::measure_range));
  m.impl("corrupt_measured", TORCH_BOX(&eden::ops::corrupt_measured));
  m.impl("clip_gradient", TORCH_BOX(&eden::ops::clip_gradient));
}
