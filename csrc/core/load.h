// One load of an operand: the tensor's shape as the memory sees it, and what the region does to it.
#pragma once

#include "core/region.h"
#include "core/storage.h"

namespace eden {

// A tensor of `outer x batch x inner` elements in row-major order. The samples along `batch` are
// read one after another from the same cells; element (o, i) of a sample is at its region's address
// + (o x inner + i) x width.
struct LoadShape {
  int64_t outer = 1;
  int64_t batch = 1;
  int64_t inner = 1;

  EDEN_HOST_DEVICE int64_t sample_size() const { return outer * inner; }
  // Where element `index` of a sample lies in the tensor.
  EDEN_HOST_DEVICE int64_t tensor_index(int64_t sample, int64_t index) const {
    if (outer == 1) return sample * inner + index;
    return ((index / inner) * batch + sample) * inner + index % inner;
  }
};

struct Load {
  Region region;
  uint64_t chip = 0;
  uint64_t access = 0;
  LoadShape shape;
  float scale = 1.0f;
  float low = 0.0f;  // bounds of plausible values, for a correction
  float high = 0.0f;
};

// A load's scale and bounds as its storage can express them: the largest plausible value, once
// stored, comes back as the code's value, which may lie a rounding above it and must not be taken
// for implausible.
template <class Codec>
EDEN_HOST_DEVICE inline void set_range(Load& load, const float* scale, const float* bounds) {
  if (scale != nullptr)
    // A tensor of zeros has no scale, and stays zeros. That of a tensor with a NaN is NaN, and so
    // is all that is read: a divergence must not look like a tensor of zeros.
    load.scale = *scale == 0.0f ? 1.0f : *scale;
  if (bounds == nullptr) {
    load.region.correction = Correction::kNone;
    return;
  }
  load.low = bounds[0];
  load.high = bounds[1];
  if constexpr (!Codec::kIdentity) {
    load.low = Codec::decode(Codec::encode(load.low, load.scale), load.scale);
    load.high = Codec::decode(Codec::encode(load.high, load.scale), load.scale);
  }
}

}  // namespace eden
