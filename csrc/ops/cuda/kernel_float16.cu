#include "ops/cuda/kernel.cuh"

namespace eden::cuda {

Launch find_launch_float16(Storage storage) { return find_launch_of<ValueType::kFloat16>(storage); }

}  // namespace eden::cuda
