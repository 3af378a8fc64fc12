#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "memory/codes/coded_load.h"
#include "memory/corrupt/load_work.h"
#include "memory/storage/clip.h"
#include "ops/channels.h"
#include "ops/corrupt.h"
#include "ops/cpu/caches.h"
#include "ops/cpu/channel_ranges.h"
#include "ops/cpu/output_pool.h"
#include "ops/cpu/strided.h"

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

// Codes of several words are worked on in dense copies.
bool takes(const Tensor& tensor, const CorruptArguments& arguments, bool written) {
  if (is_coded(arguments.storage)) return false;
  const std::optional<Rows> rows = long_rows(tensor);
  return rows && (!written || rows->disjoint());
}

// Of tensors that are row-major, or taken as they are.
void run(const Load& load, const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  const LoadWork work(load, arguments.value, arguments.storage, x.const_data_ptr(),
                      out.mutable_data_ptr(), simd::kernels(),
                      static_cast<int>(torch::stable::get_num_threads()), *long_rows(x),
                      *long_rows(out));
  FlipCache& cache = flip_cache();
  FlipCache::Answer answer;
  if (work.patches() != 0) {
    answer = cache.find(work.load_of_cells(), work.width(), work.patches(), work.in_planes());
  }
  const int64_t grain = std::max<int64_t>(1, kElementsPerThread / work.elements_per_piece());
  if (work.in_planes()) {
    PlaneFlips flips = work.plane_flips();
    torch::stable::parallel_for(0, work.patches(), grain, [&](int64_t first, int64_t last) {
      work.find_planes(first, last, answer.kept.get(), answer.wanted.get(), flips);
    });
    torch::stable::parallel_for(0, work.pieces(), grain, [&](int64_t first, int64_t last) {
      work.run_planes(first, last, flips);
    });
    cache.keep(std::move(answer));
    return;
  }
  torch::stable::parallel_for(0, work.pieces(), grain, [&](int64_t first, int64_t last) {
    if (answer.kept != nullptr) {
      work.run_kept(first, last, *answer.kept);
    } else if (answer.wanted != nullptr) {
      work.run_and_keep(first, last, *answer.wanted);
    } else {
      work.run(first, last);
    }
  });
  cache.keep(std::move(answer));
}

int64_t grain_of(const CodedLoad& coded) {
  return std::max<int64_t>(1, kElementsPerThread / coded.elements_per_piece());
}

// The cells of a storage with a code of several words.
std::unique_ptr<uint8_t[]> encoded(const CodedLoad& coded) {
  auto cells = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(coded.cell_bytes()));
  torch::stable::parallel_for(0, coded.pieces(), grain_of(coded), [&](int64_t first, int64_t last) {
    coded.encode(first, last, cells.get());
  });
  return cells;
}

void launch_cpu(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
  if (x.numel() != 0) run(load_of(arguments), x, arguments, out);
}

std::tuple<Tensor, Tensor> corrupt_measured(Tensor x, Tensor region, std::optional<Tensor> table,
                                            Tensor chip, Tensor access, int64_t storage,
                                            bool affine, int64_t channel_dim) {
  const CorruptArguments arguments =
      check_arguments(x, region, table, chip, access, {}, {}, {}, storage, channel_dim, -1, true);
  const Storage form = arguments.storage;
  const bool coded = is_coded(arguments);
  Tensor out = empty_output(x);
  Tensor flag = torch::stable::new_empty(x, {}, ScalarType::Bool);
  bool& clipped = *static_cast<bool*>(flag.mutable_data_ptr());
  clipped = false;
  if (x.numel() == 0) return {out, flag};
  const Tensor source = takes(x, arguments, false) ? x : dense(x);
  Load load = load_of(arguments);
  Conversion& conversion = load.conversion;
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  const Correction correction = load.region(0).correction;
  if (coded || correction != Correction::kNone) {
    const std::vector<ValueRange> ranges =
        channel_ranges(arguments.value, source,
                       channel_rows("corrupt_measured", source, coded ? channel_dim : -1));
    ValueRange all = ranges[0];
    for (const ValueRange& range : ranges) {
      if (coded) {
        const Codes codes = codes_for(form, affine, range);
        scales.push_back(codes.scale);
        zero_points.push_back(codes.zero_point);
        clipped = clipped || clips(form, codes, affine, range);
      }
      all = joined(all, range);
    }
    conversion.correction = correction;
    conversion.low = all.low;
    conversion.high = all.high;
  }
  if (coded) {
    conversion.scale = scales.data();
    conversion.zero_point = affine ? zero_points.data() : nullptr;
    conversion.channels = static_cast<int64_t>(scales.size());
  }
  launch_where_they_lie<empty_output>(
      source, out,
      [&](const Tensor& tensor, bool written) { return takes(tensor, arguments, written); },
      [&](const Tensor& read, Tensor& result) { run(load, read, arguments, result); });
  return {out, flag};
}

Tensor count_flips(Tensor x, Tensor region, std::optional<Tensor> table, Tensor chip, Tensor access,
                   std::optional<Tensor> scale, std::optional<Tensor> zero_point,
                   std::optional<Tensor> bounds, int64_t storage, int64_t channel_dim,
                   int64_t batch_dim) {
  const CorruptArguments arguments = check_arguments(
      x, region, table, chip, access, scale, zero_point, bounds, storage, channel_dim, batch_dim);
  const int64_t width = cell_unit(arguments.storage);
  Tensor counts = torch::stable::new_empty(region, {width, 2, 2});
  torch::stable::zero_(counts);
  if (x.numel() == 0) return counts;
  const Tensor source = dense(x);
  auto* const found = static_cast<int64_t*>(counts.mutable_data_ptr());
  const Load load = load_of(arguments);
  if (is_coded(arguments.storage)) {
    const CodedLoad coded(load, arguments.value, arguments.storage, source.const_data_ptr(),
                          nullptr);
    const std::unique_ptr<uint8_t[]> cells = encoded(coded);
    LoadWork(coded.of_cells(), ValueType::kUint8, Storage::kUint8, cells.get(), nullptr)
        .count(found);
    return counts;
  }
  LoadWork(load, arguments.value, arguments.storage, source.const_data_ptr(), nullptr).count(found);
  return counts;
}

}  // namespace
}  // namespace eden::ops

EDEN_IMPLEMENT_CORRUPT(CPU, eden::ops::launch_cpu, eden::ops::empty_output, eden::ops::takes)

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("corrupt_measured", TORCH_BOX(&eden::ops::corrupt_measured));
  m.impl("count_flips", TORCH_BOX(&eden::ops::count_flips));
}
