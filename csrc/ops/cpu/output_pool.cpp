#include "ops/cpu/output_pool.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/Exception.h>

#include "ops/channels.h"
#include "ops/cpu/caches.h"

// Of torch 2.11, while this library is built for torch 2.10. Declared weak, its absence does not
// keep the library from loading; results then lie in torch's own memory.
extern "C" __attribute__((weak)) AOTITorchError torch_from_blob(
    void* data, int64_t ndim, const int64_t* sizes, const int64_t* strides, int64_t storage_offset,
    int32_t dtype, int32_t device_type, int32_t device_index, AtenTensorHandle* ret, int32_t layout,
    const uint8_t* opaque_metadata, int64_t opaque_metadata_size,
    void (*deleter)(void* data, void* context), void* deleter_context);

namespace eden::ops {
namespace {

using torch::stable::Tensor;

// What is smaller, the C library keeps by itself.
constexpr std::size_t kSmallestBlock = std::size_t{1} << 16;

// The block that a tensor of this thread gave back last.
thread_local void* given_back = nullptr;

}  // namespace

BlockPool& output_pool() {
  // Never destroyed: tensors give their memory back after the end of main, too.
  static BlockPool& pool = *new BlockPool(output_capacity());
  return pool;
}

Tensor empty_output(const Tensor& x) {
  const std::size_t bytes = static_cast<std::size_t>(x.numel()) * x.element_size();
  BlockPool& blocks = output_pool();
  if (torch_from_blob == nullptr || bytes < kSmallestBlock || bytes > blocks.capacity() ||
      !is_dense(x)) {
    return torch::stable::empty_like(x);
  }
  int32_t dtype = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(x.get(), &dtype));
  void* block = blocks.take(bytes);
  given_back = nullptr;
  AtenTensorHandle handle = nullptr;
  const AOTITorchError error = torch_from_blob(
      block, x.dim(), x.sizes().data(), x.strides().data(), 0, dtype, aoti_torch_device_type_cpu(),
      -1, &handle, aoti_torch_layout_strided(), nullptr, 0,
      [](void* data, void* context) {
        output_pool().give_back(data, reinterpret_cast<std::size_t>(context));
        given_back = data;
      },
      reinterpret_cast<void*>(bytes));
  // What fails may have made enough of a tensor to give its memory back, or not.
  if (error != 0 && given_back != block) blocks.give_back(block, bytes);
  TORCH_ERROR_CODE_CHECK(error);
  return Tensor(handle);
}

}  // namespace eden::ops
