// The schema of every operator, on one page.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(eden, m) { m.def("corrupt(Tensor x) -> Tensor"); }
