#define EDEN_ISA_NAMESPACE neon

#include "memory/corrupt/simd/apply_loops.h"

namespace eden::simd {

Apply apply_neon(ValueType value, Storage storage) { return neon::apply_of(value, storage); }

}  // namespace eden::simd
