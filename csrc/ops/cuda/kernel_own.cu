#include "ops/cuda/kernel.cuh"

namespace eden::cuda {

Launch find_launch_own(ValueType value) {
  switch (value) {
    case ValueType::kFloat8E4M3:
      return launch<ValueType::kFloat8E4M3, Storage::kFloat8E4M3>;
    case ValueType::kFloat8E5M2:
      return launch<ValueType::kFloat8E5M2, Storage::kFloat8E5M2>;
    case ValueType::kInt8:
      return launch<ValueType::kInt8, Storage::kInt8>;
    case ValueType::kUint8:
      return launch<ValueType::kUint8, Storage::kUint8>;
    case ValueType::kInt16:
      return launch<ValueType::kInt16, Storage::kInt16>;
    case ValueType::kInt32:
      return launch<ValueType::kInt32, Storage::kInt32>;
    case ValueType::kFloat32:
    case ValueType::kFloat16:
    case ValueType::kBFloat16:
      break;
  }
  return nullptr;
}

}  // namespace eden::cuda
