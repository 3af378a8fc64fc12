// One load of an operand: the tensor's shape as the memory sees it, where it lies, and what the
// memory does to it.
#pragma once

#include "memory/region.h"
#include "memory/storage/storage.h"

namespace eden {

// A tensor of `outer x batch x inner` elements in row-major order. The samples along `batch` are
// read one after another from the same cells; element (o, i) of a sample is the sample's element
// o x inner + i.
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
  const int64_t* regions = nullptr;  // rows of RegionField
  int64_t region_count = 0;
  const int64_t* table = nullptr;  // of the regions' lines and maps
  int64_t table_size = 0;          // numbers in it
  uint64_t chip = 0;
  uint64_t access = 0;
  LoadShape shape;
  Conversion conversion;

  EDEN_HOST_DEVICE Region region(int64_t i) const {
    return unpack_region(regions + i * kRegionFields);
  }
  // That of a region's row, 0 for whole words.
  EDEN_HOST_DEVICE uint32_t plane(int64_t i) const {
    return static_cast<uint32_t>(static_cast<uint64_t>(regions[i * kRegionFields + kCorrection]) >>
                                 kPlaneShift);
  }
  // Whether the operand lies in planes.
  EDEN_HOST_DEVICE bool in_planes() const { return region_count > 0 && plane(0) != 0; }
  // Whether the rows of a plane, or of whole words, begin with a region.
  EDEN_HOST_DEVICE bool begins_plane(int64_t i) const { return i == 0 || plane(i) != plane(i - 1); }
  // The operand's first bit in a region; of a plane, among its own.
  EDEN_HOST_DEVICE uint64_t first_bit(int64_t i) const {
    return begins_plane(i) ? 0 : static_cast<uint64_t>(regions[(i - 1) * kRegionFields + kEnd]);
  }
};

}  // namespace eden
