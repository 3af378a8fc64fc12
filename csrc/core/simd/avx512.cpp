#define EDEN_ISA_NAMESPACE avx512

#include "core/simd/lanes_avx512.h"
// After the lanes that it is written in.
#include "core/simd/find.h"

namespace eden::simd {

const Kernels& kernels_avx512() {
  static constexpr Kernels kTable = {"avx512",           avx512::find_sparse,
                                     avx512::find_raw,   avx512::keep_failing,
                                     avx512::find_dense, apply_avx512};
  return kTable;
}

}  // namespace eden::simd
