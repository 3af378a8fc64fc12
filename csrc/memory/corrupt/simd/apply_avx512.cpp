#define EDEN_ISA_NAMESPACE avx512

#include "memory/corrupt/simd/apply_loops.h"

namespace eden::simd {

Apply apply_avx512(ValueType value, Storage storage) { return avx512::apply_of(value, storage); }

}  // namespace eden::simd
