#include <torch/csrc/stable/accelerator.h>

#include "memory/region_check.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/launch.h"

namespace eden::ops {
namespace {

// A word of the host's memory in which the kernels of every device leave a complaint, so that it
// can be looked at without waiting for them.
int64_t* complaint_word() {
  static int64_t* const word = [] {
    // The one allocation beside torch's, made at the first read, which may be in a capture.
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode), "the capture mode was not changed");
    void* memory = nullptr;
    const cudaError_t error =
        cudaHostAlloc(&memory, sizeof(int64_t), cudaHostAllocPortable | cudaHostAllocMapped);
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode), "the capture mode was not restored");
    check_cuda(error, "no memory for the kernels' complaints");
    auto* const allocated = static_cast<int64_t*>(memory);
    *allocated = 0;
    return allocated;
  }();
  return word;
}

// Raises what a kernel that ran before had to say.
void report_complaint(int64_t* word) {
  const int64_t packed = __atomic_exchange_n(word, 0, __ATOMIC_RELAXED);
  if (packed == 0) return;
  const FoundFault found = unpack_fault(packed);
  STD_TORCH_CHECK(false, "eden::corrupt: an earlier read on a CUDA device could not be done, and ",
                  "gave NaN, or integers whose bits are all ones: of its regions, region ",
                  found.region, " ", describe(found.fault));
}

// Raises what a kernel on the device of x had to say that was launched before.
void check_reads(Tensor x) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  use_device(x);
  check_cuda(cudaDeviceSynchronize(), "reads on a CUDA device did not end");
  report_complaint(complaint_word());
}

}  // namespace

void launch_cuda(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() == 0) return;
  const int32_t device = x.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  use_device(x);
  cuda::DeviceLoad load{};
  load.complaint = complaint_word();
  report_complaint(load.complaint);
  load.regions = data<int64_t>(arguments.region);
  load.region_count = arguments.regions();
  load.table = data<int64_t>(arguments.table);
  load.table_size = arguments.table_size();
  load.chip = data<int64_t>(arguments.chip);
  load.access = data<int64_t>(arguments.access);
  load.bounds = data<float>(arguments.bounds);
  load.shape = arguments.shape;
  load.conversion.scale = data<float>(arguments.scale);
  load.conversion.zero_point = data<int32_t>(arguments.zero_point);
  load.conversion.channels = arguments.channels;
  load.conversion.channel_inner = arguments.channel_inner;
  const void* const in = x.const_data_ptr();
  void* const to = out.mutable_data_ptr();
  const cudaStream_t stream = current_stream(device);
  if (!is_coded(arguments.storage)) {
    Tensor masks;
    if (arguments.in_planes()) {
      const int64_t words = cuda::plane_mask_words(arguments.shape, arguments.storage);
      masks = torch::stable::new_empty(x, {2, words}, ScalarType::Int);
      torch::stable::zero_(masks);
      auto* const bits = static_cast<uint32_t*>(masks.mutable_data_ptr());
      load.planes = {bits, bits + words};
      check_cuda(cuda::find_planes(load, arguments.storage, stream),
                 "the kernel that finds the flips of planes was not launched");
    }
    check_cuda(cuda::launch(load, arguments.value, arguments.storage, in, to, stream),
               "the CUDA kernel was not launched");
    return;
  }
  const int64_t cells = cells_of(arguments.storage, arguments.shape.sample_size());
  Tensor bytes = torch::stable::new_empty(x, {cells / 8 * arguments.shape.batch}, ScalarType::Byte);
  check_cuda(cuda::launch_coded(load, arguments.value, arguments.storage, in,
                                bytes.mutable_data_ptr(), to, stream),
             "the kernels of a code were not launched");
}

}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CUDA, eden::ops::launch_cuda, torch::stable::empty_like)

STABLE_TORCH_LIBRARY_IMPL(eden, CUDA, m) {
  m.impl("check_reads", TORCH_BOX(&eden::ops::check_reads));
}
