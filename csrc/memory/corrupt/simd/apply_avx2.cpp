#define EDEN_ISA_NAMESPACE avx2

#include "memory/corrupt/simd/apply_loops.h"

namespace eden::simd {

Apply apply_avx2(ValueType value, Storage storage) { return avx2::apply_of(value, storage); }

}  // namespace eden::simd
