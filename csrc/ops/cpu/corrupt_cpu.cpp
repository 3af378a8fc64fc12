#include "core/corrupt.h"
#include "ops/corrupt.h"
#include "ops/cpu/output_pool.h"

namespace eden::ops {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t kElementsPerThread = 1 << 15;

const int64_t* fields_of(const Tensor& tensor) {
  return static_cast<const int64_t*>(tensor.const_data_ptr());
}

Load load_of(const CorruptArguments& arguments) {
  Load load;
  load.regions = fields_of(arguments.region);
  load.region_count = arguments.regions();
  load.table = arguments.table ? fields_of(*arguments.table) : nullptr;
  load.table_size = arguments.table_size();
  load.chip = static_cast<uint64_t>(*fields_of(arguments.chip));
  load.access = static_cast<uint64_t>(*fields_of(arguments.access));
  load.shape = arguments.shape;
  const auto floats = [](const std::optional<Tensor>& tensor) {
    return tensor ? static_cast<const float*>(tensor->const_data_ptr()) : nullptr;
  };
  Conversion& conversion = load.conversion;
  conversion.scale = floats(arguments.scale);
  conversion.zero_point = arguments.zero_point
                              ? static_cast<const int32_t*>(arguments.zero_point->const_data_ptr())
                              : nullptr;
  conversion.channels = arguments.channels;
  conversion.channel_inner = arguments.channel_inner;
  if (const float* bounds = floats(arguments.bounds)) {
    conversion.correction = load.region(0).correction;
    conversion.low = bounds[0];
    conversion.high = bounds[1];
  }
  return load;
}

void launch_cpu(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() == 0) return;
  const LoadWork work(load_of(arguments), arguments.value, arguments.storage, x.const_data_ptr(),
                      out.mutable_data_ptr());
  const int64_t grain = std::max<int64_t>(1, kElementsPerThread / work.elements_per_piece());
  torch::stable::parallel_for(0, work.pieces(), grain,
                              [&](int64_t first, int64_t last) { work.run(first, last); });
}

Tensor count_flips(Tensor x, Tensor region, std::optional<Tensor> table, Tensor chip, Tensor access,
                   std::optional<Tensor> scale, std::optional<Tensor> zero_point,
                   std::optional<Tensor> bounds, int64_t storage, int64_t channel_dim,
                   int64_t batch_dim) {
  const CorruptArguments arguments = check_arguments(
      x, region, table, chip, access, scale, zero_point, bounds, storage, channel_dim, batch_dim);
  const int64_t width = storage_bits(arguments.storage);
  Tensor counts = torch::stable::new_empty(region, {width, 2, 2});
  torch::stable::zero_(counts);
  if (x.numel() == 0) return counts;
  const Tensor source = dense(x);
  const LoadWork work(load_of(arguments), arguments.value, arguments.storage,
                      source.const_data_ptr(), nullptr);
  work.count(static_cast<int64_t*>(counts.mutable_data_ptr()));
  return counts;
}

}  // namespace
}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CPU, eden::ops::launch_cpu, eden::ops::empty_output)

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("count_flips", TORCH_BOX(&eden::ops::count_flips));
}
