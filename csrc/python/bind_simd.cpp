#include "memory/corrupt/simd/kernels.h"
#include "python/bind.h"

namespace eden {

void bind_simd(pybind11::module_& m) {
  m.def(
      "instruction_set", [] { return simd::kernels().name; },
      "Name of the instruction set whose loops are used: the machine's best, or EDEN_ISA.");
}

}  // namespace eden
