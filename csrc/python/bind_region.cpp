#include <pybind11/stl.h>

#include <iterator>
#include <optional>
#include <utility>

#include "base/drawn_chips.h"
#include "base/random_layout.h"
#include "base/refusal.h"
#include "memory/lines.h"
#include "memory/region.h"
#include "memory/scaling.h"
#include "memory/storage/storage.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {
namespace {

py::array_t<int64_t> line_bin_begins() {
  py::array_t<int64_t> begins(kLineBins + 1);
  for (int bin = 0; bin <= kLineBins; ++bin) {
    begins.mutable_at(bin) = static_cast<int64_t>(line_bin_begin(bin));
  }
  return begins;
}

// Copied without a conversion: pybind11 would take floats for whole numbers.
py::array_t<int64_t> line_table(const Array<double>& probabilities) {
  const std::vector<int64_t> table =
      make_line_table(probabilities.data(), static_cast<size_t>(probabilities.size()));
  return array_of(table);
}

LineRates lines_of(const Array<double>& rates, double failure) {
  return {std::vector<double>(rates.data(), rates.data() + rates.size()), failure};
}

py::array_t<double> line_rates(const Array<double>& rates, double failure, double ber) {
  return array_of(lines_of(rates, failure).at(ber));
}

py::array_t<uint64_t> map_order(const Array<int64_t>& cells) {
  py::array_t<uint64_t> order(cells.size());
  const int64_t* cell = cells.data();
  uint64_t* number = order.mutable_data();
  for (py::ssize_t i = 0; i < cells.size(); ++i) {
    const PhiloxWords words = draw(0, Stream::kMapOrder, 0, static_cast<uint64_t>(cell[i]), 0);
    number[i] = words.word[0] | (static_cast<uint64_t>(words.word[1]) << 32);
  }
  return order;
}

}  // namespace

void bind_region(py::module_& m) {
  m.attr("RANDOM_LAYOUT_VERSION") = kRandomLayoutVersion;
  m.attr("ACCESS_BITS") = kAccessBits;
  m.attr("REGION_FIELDS") = static_cast<int>(kRegionFields);

  py::enum_<Correction>(m, "Correction", "What replaces an implausible value.")
      .value("none", Correction::kNone)
      .value("zero", Correction::kZero)
      .value("clamp", Correction::kClamp);

  py::enum_<Storage>(m, "Storage", "The form in which a memory stores a tensor's elements.")
      .value("float32", Storage::kFloat32)
      .value("int8", Storage::kInt8)
      .value("float16", Storage::kFloat16)
      .value("bfloat16", Storage::kBFloat16)
      .value("float8_e4m3fn", Storage::kFloat8E4M3)
      .value("float8_e5m2", Storage::kFloat8E5M2)
      .value("int16", Storage::kInt16)
      .value("uint8", Storage::kUint8)
      .value("int4", Storage::kInt4)
      .value("sign", Storage::kSign)
      .value("int32", Storage::kInt32)
      .value("int16_sign_magnitude", Storage::kInt16SignMagnitude)
      .value("int8_sign_magnitude", Storage::kInt8SignMagnitude)
      .value("int4_sign_magnitude", Storage::kInt4SignMagnitude)
      .value("int8_sign_tripled", Storage::kInt8SignTripled)
      .value("int8_secded", Storage::kInt8Secded)
      .value("uint8_secded", Storage::kUint8Secded)
      .value("int8_sign_magnitude_secded", Storage::kInt8SignMagnitudeSecded)
      .value("float32_secded", Storage::kFloat32Secded)
      .value("float16_secded", Storage::kFloat16Secded)
      .value("bfloat16_secded", Storage::kBFloat16Secded)
      .value("float32_mset", Storage::kFloat32Mset)
      .value("float16_mset", Storage::kFloat16Mset)
      .value("bfloat16_mset", Storage::kBFloat16Mset)
      .value("float32_cep", Storage::kFloat32Cep)
      .value("float16_cep", Storage::kFloat16Cep)
      .value("bfloat16_cep", Storage::kBFloat16Cep)
      .value("int6_sign_magnitude_hamming", Storage::kInt6SignMagnitudeHamming)
      .value("uint6_hamming", Storage::kUint6Hamming)
      .value("float32_bch", Storage::kFloat32Bch)
      .value("float16_hamming", Storage::kFloat16Hamming)
      .value("bfloat16_hamming", Storage::kBFloat16Hamming);
  m.def("cells_of", &cells_of, py::arg("storage"), py::arg("elements"),
        "Bits of memory that so many elements of one sample take in a storage.");
  m.def("cell_unit", &cell_unit, py::arg("storage"),
        "Bits of what addresses and pieces of memory are multiples of in a storage.");
  m.def("is_coded", &is_coded, py::arg("storage"),
        "Whether a code joins several words of a storage, whose cells are a stream of bytes.");
  m.def(
      "storage_codes",
      [](Storage storage, bool has_zero_point) -> std::optional<std::pair<int32_t, int32_t>> {
        // Integers that no floating-point value is kept as are no codes.
        if (!is_quantized(storage) || !can_store(ValueType::kFloat32, storage)) return {};
        if (has_zero_point && !can_have_zero_point(storage)) return {};
        const CodeEnds ends = code_ends(storage, has_zero_point);
        return std::pair(ends.lowest, ends.highest);
      },
      py::arg("storage"), py::arg("has_zero_point"),
      "The lowest and highest code that quantization makes; None where there are no such codes.");

  py::enum_<ChipPurpose> purposes(m, "ChipPurpose", "Why a chip is drawn.");
  for (uint32_t of = 1; of < std::size(kChipPurposes); ++of) {
    purposes.value(kChipPurposes[of], static_cast<ChipPurpose>(of));
  }
  m.attr("DRAWN_CHIPS_VERSION") = kDrawnChipsVersion;

  m.def("make_region", &make_region, py::arg("ber_zero"), py::arg("ber_one"), py::arg("failure"),
        py::arg("address"), py::arg("correction"),
        "The int64 fields of a region of Models 0 and 3.");

  py::enum_<ModelKind>(m, "ModelKind", "How the weak cells of a region are laid out.")
      .value("cell", ModelKind::kCell)
      .value("bitline", ModelKind::kBitline)
      .value("wordline", ModelKind::kWordline)
      .value("map", ModelKind::kMap);
  py::enum_<TableKind>(m, "TableKind", "How a line finds its entry in the table of its region.")
      .value("population", TableKind::kPopulation)
      .value("measured", TableKind::kMeasured)
      .value("alike", TableKind::kAlike)
      .value("opposite", TableKind::kOpposite)
      .value("apart", TableKind::kApart);
  m.attr("REGION_END") = static_cast<int>(kEnd);
  m.attr("REGION_CORRECTION") = static_cast<int>(kCorrection);
  m.attr("PLANE_SHIFT") = kPlaneShift;
  m.attr("REGION_TABLE_FIRST") = static_cast<int>(kTableFirst);
  m.attr("ROW_BITS_MULTIPLE") = kRowBitsMultiple;
  m.attr("MOST_SUBARRAY_CELLS") = kMostSubarrayCells;
  m.attr("SUBARRAY_ROWS_MULTIPLE") = kSubarrayRowsMultiple;
  m.attr("MAP_FLAG_BITS") = kMapFlagBits;
  m.attr("MAP_FLIPS_ZERO") = kMapFlipsZero;
  m.attr("MAP_FLIPS_ONE") = kMapFlipsOne;
  m.attr("LINE_MARK_BITS") = kLineMarkBits;
  m.def("line_bin_begins", &line_bin_begins,
        "The smallest distance of a line's mark in each bin of a population, and the end of the "
        "last one.");
  m.def("make_line_table", &line_table, py::arg("probabilities"),
        "The int64 entries of a table of lines, two for each probability.");
  m.def("make_lines_region", &make_lines_region, py::arg("kind"), py::arg("table_kind"),
        py::arg("failure"), py::arg("address"), py::arg("correction"), py::arg("table_first"),
        py::arg("table_length"), py::arg("row_bits"), py::arg("subarray_rows"),
        "The int64 fields of a region of Models 1 and 2.");
  m.def("make_map_region", &make_map_region, py::arg("failure"), py::arg("address"),
        py::arg("correction"), py::arg("table_first"), py::arg("table_length"),
        "The int64 fields of a region of a map of weak cells.");
  m.def(
      "scale_stored_rates",
      [](double ber_zero, double ber_one, double failure, double ber) {
        const StoredRates scaled = scale_stored_rates({ber_zero, ber_one}, failure, ber);
        return std::pair(scaled.zero, scaled.one);
      },
      py::arg("ber_zero"), py::arg("ber_one"), py::arg("failure"), py::arg("ber"),
      "Rates of stored zeros and ones, brought to another mean.");
  m.def("scale_line_rates", &line_rates, py::arg("rates"), py::arg("failure"), py::arg("ber"),
        "Rates of measured lines, brought to another mean.");
  m.def(
      "highest_line_ber",
      [](const Array<double>& rates, double failure) {
        return lines_of(rates, failure).highest_ber();
      },
      py::arg("rates"), py::arg("failure"), "The highest mean that measured lines reach.");
  m.def("map_order", &map_order, py::arg("cells"),
        "A uint64 for each cell of a map; those with the smallest stay longest as its rate falls.");
  m.def(
      "derive_chip",
      [](int64_t seed, ChipPurpose purpose, uint64_t index) {
        if (index >= kChips) refuse_value("index", index, "0 to 2^60 - 1");
        return static_cast<int64_t>(derive_chip(static_cast<uint64_t>(seed), purpose, index));
      },
      py::arg("seed"), py::arg("purpose"), py::arg("index"),
      "Seed of the index-th chip drawn for a purpose.");
  m.def(
      "purpose_of", [](int64_t chip) { return purpose_of(static_cast<uint64_t>(chip)); },
      py::arg("chip"), "Name of the purpose that a chip was drawn for; empty for one by hand.");
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
