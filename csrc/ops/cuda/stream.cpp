#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include "ops/cuda/launch.h"

namespace eden::ops {
namespace {

// Only a CUDA build of torch has this function, in a library that this one cannot be linked to: it
// is built and loaded where there is none, too. Python loads torch's libraries for itself alone, so
// a weak reference would not find it either.
using CurrentStream = AOTITorchError (*)(int32_t device_index, void** ret_stream);

CurrentStream find_current_stream() {
  constexpr const char* kName = "aoti_torch_get_current_cuda_stream";
  void* const torch_cuda = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* const found = torch_cuda != nullptr ? dlsym(torch_cuda, kName) : nullptr;
  return reinterpret_cast<CurrentStream>(found != nullptr ? found : dlsym(RTLD_DEFAULT, kName));
}

}  // namespace

cudaStream_t current_stream(int32_t device) {
  static const CurrentStream get = find_current_stream();
  STD_TORCH_CHECK(get != nullptr,
                  "eden::corrupt: x is on a CUDA device, but no libtorch_cuda.so with torch's "
                  "current stream is loaded");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(get(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace eden::ops
