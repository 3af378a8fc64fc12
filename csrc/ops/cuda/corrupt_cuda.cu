#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include <algorithm>

#include "core/tile.h"
#include "ops/corrupt.h"

// Only a CUDA build of torch has this function. Declared weak, its absence does not keep this
// library from loading, so that registration is checked on machines without a GPU too.
extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace eden::ops {
namespace {

constexpr int kThreads = 256;
// Samples that share their cells pass through one block's masks; more blocks than this find the
// same masks again.
constexpr int64_t kBlocksWanted = 2048;

struct LoadPointers {
  const int64_t* region;
  const int64_t* chip;
  const int64_t* access;
  const float* scale;   // null for none
  const float* bounds;  // null for none
};

template <class Codec>
__global__ void __launch_bounds__(kThreads)
    corrupt_kernel(LoadShape shape, LoadPointers pointers, const typename Codec::Value* in,
                   typename Codec::Value* out) {
  __shared__ uint32_t zero[kTileMaskWords];
  __shared__ uint32_t one[kTileMaskWords];
  constexpr int64_t kTileElements = kTileCells / Codec::kWidthBits;
  Load load;
  load.shape = shape;
  load.region = unpack_region(pointers.region);
  load.chip = static_cast<uint64_t>(*pointers.chip);
  load.access = static_cast<uint64_t>(*pointers.access);
  set_range<Codec>(load, pointers.scale, pointers.bounds);
  const int thread = static_cast<int>(threadIdx.x);
  const TileMasks masks{zero, one};
  const int64_t tiles = (shape.sample_size() + kTileElements - 1) / kTileElements;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first = tile * kTileElements;
    const int64_t end = first + kTileElements;
    const int64_t last = end < shape.sample_size() ? end : shape.sample_size();
    const TileSpan span{load.region.address + static_cast<uint64_t>(first) * Codec::kWidthBits,
                        load.region.address + static_cast<uint64_t>(last) * Codec::kWidthBits};
    __syncthreads();  // the masks of the tile before are still being read
    tile_dense(load, span, masks, thread, kThreads);
    __syncthreads();
    tile_sparse(load, span, masks, thread, kThreads,
                [](uint32_t* word, uint32_t bits) { atomicOr(word, bits); });
    __syncthreads();
    for (int64_t sample = blockIdx.y; sample < shape.batch; sample += gridDim.y) {
      tile_elements<Codec>(load, span, masks, sample, first, last, in, out, thread, kThreads);
    }
  }
}

cudaStream_t current_stream(const Tensor& x) {
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                  "eden::corrupt: x is on a CUDA device, but this torch was built without CUDA");
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

void launch_cuda(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() == 0) return;
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const LoadShape shape = load_shape(x, arguments.batch_dim);
  const LoadPointers pointers{
      static_cast<const int64_t*>(arguments.region.const_data_ptr()),
      static_cast<const int64_t*>(arguments.chip.const_data_ptr()),
      static_cast<const int64_t*>(arguments.access.const_data_ptr()),
      arguments.scale ? static_cast<const float*>(arguments.scale->const_data_ptr()) : nullptr,
      arguments.bounds ? static_cast<const float*>(arguments.bounds->const_data_ptr()) : nullptr,
  };
  with_codec(x, arguments, [&]<class Codec>() {
    using Value = typename Codec::Value;
    constexpr int64_t kTileElements = kTileCells / Codec::kWidthBits;
    const int64_t tiles = (shape.sample_size() + kTileElements - 1) / kTileElements;
    const int64_t columns = std::min(tiles, kBlocksWanted);
    const int64_t rows = std::min(shape.batch, std::max<int64_t>(1, kBlocksWanted / columns));
    corrupt_kernel<Codec>
        <<<dim3(static_cast<unsigned>(columns), static_cast<unsigned>(rows)), kThreads, 0,
           current_stream(x)>>>(shape, pointers, static_cast<const Value*>(x.const_data_ptr()),
                                static_cast<Value*>(out.mutable_data_ptr()));
    const cudaError_t error = cudaGetLastError();
    STD_TORCH_CHECK(error == cudaSuccess,
                    "eden::corrupt: the CUDA kernel was not launched: ", cudaGetErrorString(error));
  });
}

}  // namespace
}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CUDA, eden::ops::launch_cuda, torch::stable::empty_like)
