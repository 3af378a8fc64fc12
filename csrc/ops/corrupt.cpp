// The schema of every operator, on one page.
//
// x        float32 or int8, of any shape
// region   int64 vector of core/region.h: where the operand lies and how its cells fail
// chip     int64 scalar, the seed of the chip
// access   int64 scalar, the number of this read of the operand
// scale    float32 scalar, for a storage that quantizes
// bounds   float32 [low, high] of plausible values, for a correction
// storage  core/storage.h: the form in which the memory keeps x
// batch_dim  the dimension whose samples are read one after another from the same cells, -1 for
// none
//
// What corrupt returns has the strides of torch.empty_like(x).
//
// Rates, chip, access and correction are tensors, so that changing them neither recompiles nor
// synchronizes.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(eden, m) {
  m.def(
      "corrupt(Tensor x, Tensor region, Tensor chip, Tensor access, Tensor? scale, Tensor? bounds, "
      "int storage, "
      "int batch_dim) -> Tensor");
  m.def(
      "corrupt_(Tensor(a!) x, Tensor region, Tensor chip, Tensor access, Tensor? scale, Tensor? "
      "bounds, int storage, "
      "int batch_dim) -> ()");
  m.def(
      "corrupt_out(Tensor x, Tensor region, Tensor chip, Tensor access, Tensor? scale, Tensor? "
      "bounds, int storage, "
      "int batch_dim, *, Tensor(a!) out) -> ()");
  // Adds 1 to the access number of an operand, int64.
  m.def("advance_(Tensor(a!) access) -> ()");
  // The idle memory that the CPU operators keep for their results (cpu/output_pool.h).
  m.def("cached_bytes() -> int");
  m.def("empty_cache() -> ()");
}
