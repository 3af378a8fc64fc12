#include "core/corrupt.h"
#include "ops/corrupt.h"
#include "ops/cpu/output_pool.h"

namespace eden::ops {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t kElementsPerThread = 1 << 15;

void launch_cpu(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
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

}  // namespace
}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CPU, eden::ops::launch_cpu, eden::ops::empty_output)
