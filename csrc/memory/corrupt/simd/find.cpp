// The kernels of one instruction set. Compiled once for each with its flags and its name, EDEN_ISA
// (cmake/simd.cmake); everything but the table has internal linkage.
#include "memory/corrupt/simd/find_dense.h"
#include "memory/corrupt/simd/find_dense_lines.h"
#include "memory/corrupt/simd/find_lines.h"
#include "memory/corrupt/simd/find_marks.h"
#include "memory/corrupt/simd/flip.h"
#include "memory/corrupt/simd/planes.h"

namespace eden::simd {

const Kernels& EDEN_OF_ISA(kernels)() {
  static constexpr Kernels kTable = {EDEN_ISA_NAME,
                                     EDEN_ISA::find_sparse,
                                     EDEN_ISA::find_in_lines,
                                     EDEN_ISA::find_dense_in_lines,
                                     EDEN_ISA::find_weak_lines,
                                     EDEN_ISA::keep_failing,
                                     EDEN_ISA::find_dense,
                                     EDEN_ISA::cells_of_words,
                                     EDEN_ISA::mask_of_words,
                                     EDEN_ISA::flip,
                                     EDEN_OF_ISA(apply)};
  return kTable;
}

}  // namespace eden::simd
