// What the CUDA launchers share: torch's current stream and device, and numbers of tensors.
#pragma once

#include <cuda_runtime.h>

#include "ops/corrupt.h"

namespace eden::ops {

// Throws where no libtorch_cuda.so is loaded.
cudaStream_t current_stream(int32_t device);

inline void check_cuda(cudaError_t error, const char* what) {
  STD_TORCH_CHECK(error == cudaSuccess, "eden::corrupt: ", what, ": ", cudaGetErrorString(error));
}

template <class T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <class T>
const T* data(const std::optional<Tensor>& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}

inline void use_device(const Tensor& x) {
  // This library's own copy of the CUDA runtime need not have noticed a guard of torch's.
  check_cuda(cudaSetDevice(x.get_device_index()), "the device of x was not made the current one");
}

// Puts the kernel of a read into the current stream; `x` and `out` are dense.
void launch_cuda(const Tensor& x, const CorruptArguments& arguments, Tensor& out);

}  // namespace eden::ops
