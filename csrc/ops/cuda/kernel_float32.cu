#include "ops/cuda/kernel.cuh"

namespace eden::cuda {

Launch find_launch_float32(Storage storage) { return find_launch_of<ValueType::kFloat32>(storage); }

}  // namespace eden::cuda
