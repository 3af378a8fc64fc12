// What launches the kernels, without torch, so that the value types compile beside each other.
#pragma once

#include <cuda_runtime_api.h>

#include "core/load.h"

namespace eden::cuda {

// A load whose numbers lie in the device's memory.
struct DeviceLoad {
  const int64_t* regions;  // the first row's correction holds for all
  int64_t region_count;
  const int64_t* table;  // null for none
  int64_t table_size;
  const int64_t* chip;
  const int64_t* access;
  const float* bounds;  // [low, high]; null for none
  LoadShape shape;
  Conversion conversion;  // all but correction, low and high
  int64_t* complaint;     // in memory of the host: gets a packed fault of the regions
};

// Puts a load's kernel into a stream; in and out are dense and may be the same memory.
using Launch = void (*)(const DeviceLoad& load, const void* in, void* out, cudaStream_t stream);

// Null where there is none.
Launch find_launch(ValueType value, Storage storage);

// Those of one value type each, and of the types that are kept in their own storage alone.
Launch find_launch_float32(Storage storage);
Launch find_launch_float16(Storage storage);
Launch find_launch_bfloat16(Storage storage);
Launch find_launch_own(ValueType value);

}  // namespace eden::cuda
