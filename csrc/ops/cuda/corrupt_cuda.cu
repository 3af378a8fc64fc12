#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "ops/corrupt.h"
#include "ops/cuda/kernel.h"

// Only a CUDA build of torch has this function. Declared weak, its absence does not keep this
// library from loading, so that registration is checked on machines without a GPU too.
extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace eden::cuda {

Launch find_launch(ValueType value, Storage storage) {
  if (!can_store(value, storage)) return nullptr;
  switch (value) {
    case ValueType::kFloat32:
      return find_launch_float32(storage);
    case ValueType::kFloat16:
      return find_launch_float16(storage);
    case ValueType::kBFloat16:
      return find_launch_bfloat16(storage);
    default:
      return find_launch_own(value);
  }
}

}  // namespace eden::cuda

namespace eden::ops {
namespace {

cudaStream_t current_stream(const Tensor& x) {
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                  "eden::corrupt: x is on a CUDA device, but this torch was built without CUDA");
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

template <class T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <class T>
const T* data(const std::optional<Tensor>& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}

void launch_cuda(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() == 0) return;
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  cuda::DeviceLoad load{};
  load.regions = data<int64_t>(arguments.region);
  load.region_count = arguments.regions();
  load.table = data<int64_t>(arguments.table);
  load.chip = data<int64_t>(arguments.chip);
  load.access = data<int64_t>(arguments.access);
  load.bounds = data<float>(arguments.bounds);
  load.shape = arguments.shape;
  load.conversion.scale = data<float>(arguments.scale);
  load.conversion.zero_point = data<int32_t>(arguments.zero_point);
  load.conversion.channels = arguments.channels;
  load.conversion.channel_inner = arguments.channel_inner;
  const cuda::Launch launch = cuda::find_launch(arguments.value, arguments.storage);
  STD_TORCH_CHECK(launch != nullptr,
                  "eden::corrupt: x has a dtype that this storage cannot hold on a CUDA device");
  launch(load, x.const_data_ptr(), out.mutable_data_ptr(), current_stream(x));
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess,
                  "eden::corrupt: the CUDA kernel was not launched: ", cudaGetErrorString(error));
}

}  // namespace
}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CUDA, eden::ops::launch_cuda, torch::stable::empty_like)
