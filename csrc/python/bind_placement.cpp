#include <pybind11/stl.h>

#include <tuple>

#include "memory/region.h"
#include "memory/storage/bit_harm.h"
#include "placement/remap.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {
namespace {

using Form = std::pair<std::vector<double>, std::vector<double>>;
using Lying = std::tuple<int64_t, uint64_t, size_t, double>;

Remap remap_entries(const Array<int64_t>& entries, uint64_t capacity_bits, uint64_t unit_bits,
                    const std::vector<Form>& forms, const std::vector<Lying>& operands,
                    int64_t windows) {
  std::vector<WeakCell> cells;
  for (py::ssize_t i = 0; i < entries.size(); ++i) {
    const int64_t entry = entries.data()[i];
    cells.push_back({static_cast<uint64_t>(entry) >> kMapFlagBits, (entry & kMapFlipsZero) != 0,
                     (entry & kMapFlipsOne) != 0});
  }
  std::vector<WordForm> words;
  for (const auto& [zero, one] : forms) words.push_back({zero, one});
  std::vector<RemapOperand> lying;
  for (const auto& [unit, bits, form, weight] : operands) {
    lying.push_back({unit, bits, form, weight});
  }
  const py::gil_scoped_release released;
  return remap(cells, capacity_bits, unit_bits, words, lying, windows);
}

}  // namespace

void bind_placement(py::module_& m) {
  m.def(
      "bit_harm",
      [](Storage storage) {
        BitHarm harm = bit_harm(storage);
        return std::pair(std::move(harm.zero), std::move(harm.one));
      },
      py::arg("storage"),
      "By bit position, mean squared changes of values where it flips if it stores 0, and 1.");
  m.def(
      "remap",
      [](const Array<int64_t>& entries, uint64_t capacity_bits, uint64_t unit_bits,
         const std::vector<Form>& forms, const std::vector<Lying>& operands, int64_t windows) {
        const Remap found =
            remap_entries(entries, capacity_bits, unit_bits, forms, operands, windows);
        std::vector<py::bytes> rotations;
        for (const std::vector<uint8_t>& of : found.rotations) {
          rotations.emplace_back(reinterpret_cast<const char*>(of.data()), of.size());
        }
        return std::tuple(found.unit, rotations, found.before, found.after);
      },
      py::arg("entries"), py::arg("capacity_bits"), py::arg("unit_bits"), py::arg("forms"),
      py::arg("operands"), py::arg("windows"),
      "First units and rotations of operands that lower the harm of a map's weak cells, and the "
      "harm before and after.");
}

}  // namespace eden
