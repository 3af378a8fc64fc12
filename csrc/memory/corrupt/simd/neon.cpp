#define EDEN_ISA_NAMESPACE neon

#include "memory/corrupt/simd/lanes_neon.h"
// After the lanes that it is written in.
#include "memory/corrupt/simd/find.h"
#include "memory/corrupt/simd/flip.h"

namespace eden::simd {

const Kernels& kernels_neon() {
  static constexpr Kernels kTable = {"neon",
                                     neon::find_sparse,
                                     neon::find_in_lines,
                                     neon::find_dense_in_lines,
                                     neon::find_weak_lines,
                                     neon::keep_failing,
                                     neon::find_dense,
                                     neon::flip,
                                     apply_neon};
  return kTable;
}

}  // namespace eden::simd
