// Stands in for the conversions of every instruction set until they are merged.
#include "core/simd/tables.h"

namespace eden::simd {

Apply apply_baseline(ValueType, Storage) { return nullptr; }
Apply apply_avx2(ValueType, Storage) { return nullptr; }
Apply apply_avx512(ValueType, Storage) { return nullptr; }
Apply apply_neon(ValueType, Storage) { return nullptr; }

}  // namespace eden::simd
