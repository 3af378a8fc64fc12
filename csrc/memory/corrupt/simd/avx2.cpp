#define EDEN_ISA_NAMESPACE avx2

#include "memory/corrupt/simd/lanes_avx2.h"
// After the lanes that it is written in.
#include "memory/corrupt/simd/find.h"
#include "memory/corrupt/simd/flip.h"

namespace eden::simd {

const Kernels& kernels_avx2() {
  static constexpr Kernels kTable = {"avx2",
                                     avx2::find_sparse,
                                     avx2::find_in_lines,
                                     avx2::find_dense_in_lines,
                                     avx2::find_weak_lines,
                                     avx2::keep_failing,
                                     avx2::find_dense,
                                     avx2::flip,
                                     apply_avx2};
  return kTable;
}

}  // namespace eden::simd
