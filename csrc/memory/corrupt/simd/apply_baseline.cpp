#define EDEN_ISA_NAMESPACE baseline

#include "memory/corrupt/simd/apply_loops.h"

namespace eden::simd {

Apply apply_baseline(ValueType value, Storage storage) {
  return baseline::apply_of(value, storage);
}

}  // namespace eden::simd
