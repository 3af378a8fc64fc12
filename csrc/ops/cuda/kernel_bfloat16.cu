#include "ops/cuda/kernel.cuh"

namespace eden::cuda {

Launch find_launch_bfloat16(Storage storage) {
  return find_launch_of<ValueType::kBFloat16>(storage);
}

}  // namespace eden::cuda
