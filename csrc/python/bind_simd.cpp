#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "memory/corrupt/flips.h"
#include "memory/corrupt/simd/kernels.h"
#include "memory/region.h"
#include "memory/weak_cells.h"
#include "python/bind.h"

namespace py = pybind11;

namespace eden {
namespace {

constexpr uint32_t kPatch = 1u << 21;

void find_all(const Region& region, uint64_t begin, uint64_t end) {
  simd::FoundCells found;
  std::vector<uint32_t> words(kPatch >> kGroupBits);
  std::vector<simd::SparseQuery> queries;
  const uint64_t sparse = region.sparse[0], dense = region.dense[0];
  for (uint64_t origin = begin; origin < end; origin += kPatch) {
    cell_queries(origin, kPatch, sparse, sparse, queries);
    found.size = 0;
    simd::kernels().find_sparse(1, queries.data(), queries.size(), found);
    if (dense == 0) continue;
    const simd::DenseQuery query{origin >> kGroupBits, static_cast<uint32_t>(words.size()), 0,
                                 dense, dense};
    simd::kernels().find_dense(1, 0, kAlways, &query, 1, words.data(), nullptr);
  }
  simd::release(found);
}

double random_numbers_seconds(uint64_t cells, double ber, int threads) {
  const Region region = unpack_region(make_region(ber, ber, 1.0, 0, Correction::kNone).data());
  const uint64_t patches = (cells + kPatch - 1) / kPatch;
  const auto count = static_cast<uint64_t>(std::max(threads, 1));
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> team;
  for (uint64_t t = 0; t < count; ++t) {
    team.emplace_back(find_all, region, patches * t / count * kPatch,
                      patches * (t + 1) / count * kPatch);
  }
  for (std::thread& thread : team) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void bind_simd(py::module_& m) {
  m.def(
      "instruction_set", [] { return simd::kernels().name; },
      "Name of the instruction set whose loops are used: the machine's best, or EDEN_ISA.");
  m.def("random_numbers_seconds", &random_numbers_seconds, py::arg("cells"), py::arg("ber"),
        py::arg("threads") = 2, py::call_guard<py::gil_scoped_release>(),
        "Seconds that finding the weak cells alone takes, for a benchmark.");
}

}  // namespace eden
