#include <torch/csrc/stable/library.h>

#include "core/corrupt.h"
#include "ops/corrupt.h"

namespace eden::ops {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t kElementsPerThread = 1 << 15;

void launch(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() == 0) return;
  Load load;
  load.region = unpack_region(static_cast<const int64_t*>(arguments.region.const_data_ptr()));
  load.chip = static_cast<uint64_t>(*static_cast<const int64_t*>(arguments.chip.const_data_ptr()));
  load.access =
      static_cast<uint64_t>(*static_cast<const int64_t*>(arguments.access.const_data_ptr()));
  load.shape = load_shape(x, arguments.batch_dim);
  const auto* scale =
      arguments.scale ? static_cast<const float*>(arguments.scale->const_data_ptr()) : nullptr;
  const auto* bounds =
      arguments.bounds ? static_cast<const float*>(arguments.bounds->const_data_ptr()) : nullptr;
  with_codec(x, arguments, [&]<class Codec>() {
    using Value = typename Codec::Value;
    set_range<Codec>(load, scale, bounds);
    const LoadWork<Codec> work(load, static_cast<const Value*>(x.const_data_ptr()),
                               static_cast<Value*>(out.mutable_data_ptr()));
    const int64_t grain = std::max<int64_t>(1, kElementsPerThread / work.elements_per_piece());
    torch::stable::parallel_for(0, work.pieces(), grain,
                                [&](int64_t first, int64_t last) { work.run(first, last); });
  });
}

Tensor corrupt(Tensor x, Tensor region, Tensor chip, Tensor access, std::optional<Tensor> scale,
               std::optional<Tensor> bounds, int64_t storage, int64_t batch_dim) {
  return run_corrupt(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim),
                     launch);
}

void corrupt_out(Tensor x, Tensor region, Tensor chip, Tensor access, std::optional<Tensor> scale,
                 std::optional<Tensor> bounds, int64_t storage, int64_t batch_dim, Tensor out) {
  run_corrupt_out(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim),
                  out, launch);
}

void corrupt_in_place(Tensor x, Tensor region, Tensor chip, Tensor access,
                      std::optional<Tensor> scale, std::optional<Tensor> bounds, int64_t storage,
                      int64_t batch_dim) {
  run_corrupt_out(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim), x,
                  launch);
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("corrupt", TORCH_BOX(&eden::ops::corrupt));
  m.impl("corrupt_", TORCH_BOX(&eden::ops::corrupt_in_place));
  m.impl("corrupt_out", TORCH_BOX(&eden::ops::corrupt_out));
}
