// The schema of every operator, on one page. Rates, chip, access and correction are tensors, so
// that changing them neither recompiles nor synchronizes.
//
// clang-format off
//   x            of any shape, and of a type of storage.h
//   region       int64 [pieces, fields] of region.h, or [fields] for one piece: where the operand lies and how its cells
//                fail; [1, pieces, fields] where it lies in planes, which a CUDA device's launcher cannot see otherwise
//   table        int64 vector of what the regions' lines and maps are; none needed for Models 0 and 3
//   chip         int64 scalar, the seed of the chip
//   access       int64 scalar, the number of this read of the operand
//   scale        float32 scalar, or vector of one number for each channel, for a storage that quantizes
//   zero_point   int32, likewise; none for symmetric codes
//   bounds       float32 [low, high] of plausible values, for a correction
//   storage      of storage.h: the form in which the memory keeps x
//   channel_dim  the dimension of the channels, -1 for none
//   batch_dim    the dimension whose samples are read one after another from the same cells, -1 for none
#include <torch/csrc/stable/library.h>

#define EDEN_MEMORY "Tensor region, Tensor? table, Tensor chip, Tensor access, "
#define EDEN_READ EDEN_MEMORY "Tensor? scale, Tensor? zero_point, Tensor? bounds, int storage, int channel_dim, int batch_dim"

STABLE_TORCH_LIBRARY(eden, m) {
  // x as it is read. What corrupt returns has the strides of torch.empty_like(x).
  m.def("corrupt(Tensor x, " EDEN_READ ") -> Tensor");
  m.def("corrupt_(Tensor(a!) x, " EDEN_READ ") -> ()");
  m.def("corrupt_out(Tensor x, " EDEN_READ ", *, Tensor(a!) out) -> ()");
  // Of CUDA alone: waits for the device of x, and raises what its reads could not do, which gave NaN or bits of ones.
  m.def("check_reads(Tensor x) -> ()");

  // Where they are not taken, eden/memory/storage.py and gradient.py say the same with tensors.

  // corrupt with what measure_range says of x, and with its bounds where the region corrects; whether codes clip x, a bool
  // scalar.
  m.def("corrupt_measured(Tensor x, " EDEN_MEMORY "int storage, bool affine, int channel_dim) -> (Tensor, Tensor)");
  // What a tensor's range of values says about its storage: scale and, with `affine`, zero_point, each of shape
  // [channels] or [], and the bounds [low, high], where `bounded`. What is not asked for, or what the storage has no use
  // for, has no elements.
  m.def("measure_range(Tensor x, int storage, bool affine, bool bounded, int channel_dim) -> (Tensor scale, Tensor zero_point, Tensor bounds)");
  // grad where the storage's codes do not clip x, or where x lies within bounds (NaN for none), else 0.
  m.def("clip_gradient(Tensor grad, Tensor x, Tensor? scale, Tensor? zero_point, int storage, int channel_dim, Tensor? bounds=None) -> Tensor");

  // Of the CPU alone.

  // Whether clip_gradient would stop anything.
  m.def("clips(Tensor x, Tensor? scale, Tensor? zero_point, int storage, int channel_dim, Tensor? bounds=None) -> bool");
  // What corrupt would do to the stored bits: int64 [bits of an element, 2, 2], for every bit position (the least
  // significant first) and stored value the number of cells read, and of those flipped.
  m.def("count_flips(Tensor x, " EDEN_READ ") -> Tensor");

  // Adds 1 to the access number of an operand, int64.
  m.def("advance_(Tensor(a!) access) -> ()");

  // The idle memory that the CPU operators keep for their results (cpu/output_pool.h).
  m.def("cached_bytes() -> int");
  m.def("empty_cache() -> ()");
}
// clang-format on
