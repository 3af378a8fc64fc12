#include <pybind11/stl.h>

#include "core/random_layout.h"
#include "core/region.h"
#include "core/storage.h"
#include "python/bind.h"

namespace py = pybind11;

namespace eden {

void bind_region(py::module_& m) {
  m.attr("RANDOM_LAYOUT_VERSION") = kRandomLayoutVersion;
  m.attr("REGION_FIELDS") = static_cast<int>(kRegionFields);

  py::enum_<Correction>(m, "Correction", "What replaces an implausible value.")
      .value("none", Correction::kNone)
      .value("zero", Correction::kZero)
      .value("clamp", Correction::kClamp);

  py::enum_<Storage>(m, "Storage", "The form in which a memory stores a tensor's elements.")
      .value("float32", Storage::kFloat32)
      .value("int8", Storage::kInt8);
  m.def("storage_bits", &storage_bits, py::arg("storage"),
        "Bits that an element takes in a storage.");
  m.attr("INT8_LARGEST_CODE") = static_cast<int>(kInt8LargestCode);

  py::enum_<ChipPurpose>(m, "ChipPurpose", "Why a chip is drawn.")
      .value("training", ChipPurpose::kTraining)
      .value("search", ChipPurpose::kSearch)
      .value("confirmation", ChipPurpose::kConfirmation)
      .value("evaluation", ChipPurpose::kEvaluation);

  m.def("make_region", &make_region, py::arg("ber_zero"), py::arg("ber_one"), py::arg("failure"),
        py::arg("address"), py::arg("correction"),
        "The int64 fields of a region of Models 0 and 3.");
  m.def(
      "derive_chip",
      [](int64_t seed, ChipPurpose purpose, uint64_t index) {
        return static_cast<int64_t>(derive_chip(static_cast<uint64_t>(seed), purpose, index));
      },
      py::arg("seed"), py::arg("purpose"), py::arg("index"),
      "Seed of the index-th chip drawn for a purpose.");
  m.def(
      "philox4x32_10",
      [](std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
        const PhiloxWords words =
            philox4x32_10({{counter[0], counter[1], counter[2], counter[3]}},
                          static_cast<uint64_t>(key[0]) | (static_cast<uint64_t>(key[1]) << 32));
        return std::array<uint32_t, 4>{words.word[0], words.word[1], words.word[2], words.word[3]};
      },
      py::arg("counter"), py::arg("key"), "Philox4x32-10.");
}

}  // namespace eden
