#define EDEN_ISA_NAMESPACE avx512

#include "memory/corrupt/simd/lanes_avx512.h"
// After the lanes that it is written in.
#include "memory/corrupt/simd/find.h"
#include "memory/corrupt/simd/flip.h"

namespace eden::simd {

const Kernels& kernels_avx512() {
  static constexpr Kernels kTable = {"avx512",
                                     avx512::find_sparse,
                                     avx512::find_in_lines,
                                     avx512::find_dense_in_lines,
                                     avx512::find_weak_lines,
                                     avx512::keep_failing,
                                     avx512::find_dense,
                                     avx512::flip,
                                     apply_avx512};
  return kTable;
}

}  // namespace eden::simd
