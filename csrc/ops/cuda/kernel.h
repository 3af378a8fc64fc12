// What launches the kernel, without torch.
#pragma once

#include <cuda_runtime_api.h>

#include "memory/corrupt/load.h"

namespace eden::cuda {

// Flips of an operand in planes as bits of a sample's words: which flip if they store 0, or 1.
struct PlaneMasks {
  uint32_t* zero;
  uint32_t* one;
};

// A load whose numbers lie in the device's memory.
struct DeviceLoad {
  const int64_t* regions;  // the first row's correction holds for all
  int64_t region_count;
  const int64_t* table;  // null for none
  int64_t table_size;
  const int64_t* chip;
  const int64_t* access;
  const float* bounds;  // [low, high]; null for none
  PlaneMasks planes;    // of an operand in planes; null for whole words
  LoadShape shape;
  Conversion conversion;  // all but correction, low and high
  int64_t* complaint;     // in memory of the host: gets a packed fault of the regions
  uint32_t tile_cells;    // of a tile at most, from kLeastTileCells on; 0 leaves it to launch
  int width;              // bits of a stored word; these two are launch's to say
  int value_bytes;
};

// Puts a load's kernel into a stream; in and out are dense and may be the same memory. The value
// type can be kept in the storage. Of an operand in planes find_planes comes first.
cudaError_t launch(DeviceLoad load, ValueType value, Storage storage, const void* in, void* out,
                   cudaStream_t stream);

// Puts the kernel into a stream that enters the flips of the planes into their masks, all zeros
// until then: plane_mask_words of each.
cudaError_t find_planes(DeviceLoad load, Storage storage, cudaStream_t stream);
int64_t plane_mask_words(const LoadShape& shape, Storage storage);

// A load of a storage with a code of several words, by three kernels: values to cells, the read
// of these, which are cells_of(storage, a sample's elements) / 8 bytes for each sample, and cells
// to values (codes.cu).
cudaError_t launch_coded(const DeviceLoad& load, ValueType value, Storage storage, const void* in,
                         void* cells, void* out, cudaStream_t stream);

}  // namespace eden::cuda
