#define EDEN_ISA_NAMESPACE baseline

#include "memory/corrupt/simd/lanes_portable.h"
// After the lanes that it is written in.
#include "memory/corrupt/simd/find.h"
#include "memory/corrupt/simd/flip.h"

namespace eden::simd {

const Kernels& kernels_baseline() {
  static constexpr Kernels kTable = {"baseline",
                                     baseline::find_sparse,
                                     baseline::find_in_lines,
                                     baseline::find_dense_in_lines,
                                     baseline::find_weak_lines,
                                     baseline::keep_failing,
                                     baseline::find_dense,
                                     baseline::flip,
                                     apply_baseline};
  return kTable;
}

}  // namespace eden::simd
