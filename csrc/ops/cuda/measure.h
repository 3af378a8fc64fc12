// What launches the kernels that measure a tensor and clip a gradient, without torch.
#pragma once

#include <cuda_runtime_api.h>

#include "memory/storage/clip.h"
#include "memory/storage/value_range.h"

namespace eden::cuda {

// Ranges of parts of a channel, two numbers each, which one launch leaves for the next.
int64_t parts_of(const ChannelRows& rows);

// Numbers in the device's memory; null for what is not wanted.
struct MeasuredCodes {
  float* scale;  // by channel, as the next
  int32_t* zero_point;
  float* bounds;  // [low, high] of all channels
  bool* clipped;  // whether codes clip a value
};

// Puts the kernels into a stream that measure x, of a floating-point type and at least one element.
// `ranges` has room for 2 x channels x parts_of(rows) numbers.
cudaError_t measure(ValueType value, Storage storage, const void* x, const ChannelRows& rows,
                    float* ranges, const MeasuredCodes& codes, cudaStream_t stream);

// What passes a gradient on, in the device's memory: values within bounds or, without them, those
// that codes do not clip; without a scale it is 1.
struct DeviceClip {
  Storage storage;
  const float* scale;
  const int32_t* zero_point;
  const float* bounds;
};

// Puts the kernel into a stream that keeps of grad what x passes on, and 0 elsewhere. `out`
// overlaps neither.
cudaError_t clip_gradient(ValueType value, const DeviceClip& clip, const void* grad, const void* x,
                          const ChannelRows& rows, void* out, cudaStream_t stream);

}  // namespace eden::cuda
