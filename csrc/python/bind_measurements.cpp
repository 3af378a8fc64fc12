#include <pybind11/stl.h>

#include <cmath>
#include <memory>
#include <utility>

#include "base/refusal.h"
#include "measurements/parser.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {
namespace {

using namespace measurements;

// Bytes of a file need not be UTF-8.
py::str text(const std::string& bytes) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), "replace"));
}

py::object known(double value) {
  return std::isnan(value) ? py::object(py::none()) : py::object(py::float_(value));
}

std::unique_ptr<Reader> make_reader(std::string_view format,
                                    const std::optional<std::string>& module,
                                    const std::vector<std::optional<double>>& at,
                                    const std::string& pattern, std::vector<uint32_t> banks,
                                    std::pair<uint32_t, uint32_t> rows, uint32_t row_bits,
                                    uint32_t subarray_rows, uint32_t column_bits,
                                    uint32_t repeats) {
  Settings settings;
  settings.module = module;
  if (at.size() != kConditionFields) refuse("at has another length");
  for (int i = 0; i < kConditionFields; ++i) settings.at.field[i] = at[i].value_or(kNotStated);
  const std::optional<Pattern> parsed = Pattern::parse(pattern);
  if (!parsed) {
    refuse("pattern is '", printable(pattern),
           "'; allowed are bytes such as 0xaa or 0xff/0x00, or a name");
  }
  settings.at.pattern = *parsed;
  settings.tested = {std::move(banks), rows.first, rows.second, row_bits, subarray_rows};
  settings.column_bits = column_bits;
  settings.repeats = repeats;
  return std::make_unique<Reader>(format, std::move(settings));
}

py::list counts_of_labels(const std::map<std::string, uint64_t, std::less<>>& labels) {
  py::list result;
  for (const auto& [label, count] : labels) result.append(py::make_tuple(text(label), count));
  return result;
}

const Statistics& statistics(const Reader& reader, int condition) {
  const Statistics& statistics = reader.output().statistics;
  if (condition < 0 || static_cast<size_t>(condition) >= statistics.conditions()) {
    throw py::index_error("no such condition");
  }
  return statistics;
}

Stored stored_value(int stored) {
  if (stored < 0 || stored >= kStoredValues) throw py::index_error("no such stored value");
  return static_cast<Stored>(stored);
}

}  // namespace

void bind_measurements(py::module_& m) {
  py::register_exception<FormatError>(m, "MeasurementError", PyExc_ValueError);

  py::enum_<Axis>(m, "MeasurementAxis", "Which lines of an array.")
      .value("wordline", Axis::kWordline)
      .value("bitline", Axis::kBitline);

  py::enum_<Content>(m, "MeasurementContent", "What a format's files tell.")
      .value("cells", Content::kCells)
      .value("banks", Content::kBanks)
      .value("cache_lines", Content::kCacheLines);

  py::class_<Format, std::unique_ptr<Format, py::nodelete>>(m, "MeasurementFormat", "A format.")
      .def_readonly("name", &Format::name)
      .def_readonly("records", &Format::records, "What its records are called, in plural.")
      .def_readonly("content", &Format::content)
      .def_readonly("binary", &Format::binary, "Whether any bytes can begin a file.")
      .def_readonly("takes", &Format::takes, "The arguments that it takes.");
  m.def("measurement_formats", &formats, py::return_value_policy::reference,
        "All formats that are parsed here.");
  m.def(
      "recognize_measurements", [](const py::bytes& head) { return recognize(head); },
      py::arg("head"), "The formats that the first bytes of a file can be of.");

  py::class_<Reader>(m, "MeasurementReader", "A push parser of one file with its statistics.")
      .def(py::init(&make_reader), py::arg("format"), py::kw_only(), py::arg("module") = py::none(),
           py::arg("at") = std::vector<std::optional<double>>(kConditionFields),
           py::arg("pattern") = "", py::arg("banks") = std::vector<uint32_t>(),
           py::arg("rows") = std::pair<uint32_t, uint32_t>(), py::arg("row_bits") = 0,
           py::arg("subarray_rows") = 0, py::arg("column_bits") = 0, py::arg("repeats") = 0)
      .def(
          "feed",
          [](Reader& reader, const py::buffer& bytes) {
            const py::buffer_info info = bytes.request();
            if (info.itemsize != 1 || info.ndim != 1 || (info.size > 1 && info.strides[0] != 1)) {
              throw py::type_error("bytes must be contiguous");
            }
            const std::string_view view(static_cast<const char*>(info.ptr),
                                        static_cast<size_t>(info.size));
            const py::gil_scoped_release release;
            reader.feed(view);
          },
          py::arg("bytes"), "The next bytes of the file.")
      .def("finish", &Reader::finish, py::call_guard<py::gil_scoped_release>(),
           "The file has ended.")
      .def_property_readonly("unit", &Reader::unit)
      .def_property_readonly("records", [](const Reader& r) { return r.output().log.records(); })
      .def_property_readonly("damaged",
                             [](const Reader& r) { return r.output().log.damaged_records(); })
      .def_property_readonly(
          "damages",
          [](const Reader& r) {
            py::list result;
            for (const Damage& damage : r.output().log.damages()) {
              result.append(py::make_tuple(damage.place, text(damage.found), text(damage.allowed)));
            }
            return result;
          },
          "The first damages: place, what was found, what is allowed.")
      .def_property_readonly("notes",
                             [](const Reader& r) {
                               py::list result;
                               for (const std::string& note : r.output().log.notes()) {
                                 result.append(text(note));
                               }
                               return result;
                             })
      .def_property_readonly("modules",
                             [](const Reader& r) { return counts_of_labels(r.output().modules); })
      .def_property_readonly("vendors",
                             [](const Reader& r) { return counts_of_labels(r.output().vendors); })
      .def_property_readonly("cache_lines",
                             [](const Reader& r) {
                               py::list result;
                               for (const CacheLines& c : r.output().cache_lines) {
                                 result.append(py::make_tuple(c.line, text(c.module),
                                                              text(c.vendor), c.vdd, c.percent));
                               }
                               return result;
                             })
      .def_property_readonly("flips", [](const Reader& r) { return r.output().statistics.flips(); })
      .def_property_readonly("repeated_flips",
                             [](const Reader& r) { return r.output().statistics.repeated_flips(); })
      .def_property_readonly("sample_shift",
                             [](const Reader& r) { return r.output().statistics.sample_shift(); })
      .def_property_readonly("bytes", [](const Reader& r) { return r.output().statistics.bytes(); })
      .def(
          "lines_kept",
          [](const Reader& r, Axis axis) { return r.output().statistics.lines_kept(axis); },
          py::arg("axis"))
      .def_property_readonly(
          "conditions",
          [](const Reader& r) {
            const Statistics& statistics = r.output().statistics;
            py::list result;
            for (size_t i = 0; i < statistics.conditions(); ++i) {
              const auto& condition = statistics.condition_of(static_cast<int>(i));
              py::list fields;
              for (const double value : condition.field) {
                fields.append(known(value));
              }
              result.append(py::make_tuple(fields, text(condition.pattern.text())));
            }
            return result;
          },
          "Each: the fields of an operating point, the pattern.")
      .def(
          "repeats",
          [](const Reader& r, int condition) {
            return statistics(r, condition).repeats(condition);
          },
          py::arg("condition"))
      .def(
          "stored_values",
          [](const Reader& r, int condition) {
            std::vector<int> values;
            for (const Stored stored : statistics(r, condition).stored_values(condition)) {
              values.push_back(stored);
            }
            return values;
          },
          py::arg("condition"))
      .def(
          "counts",
          [](const Reader& r, int condition, int stored) {
            const auto counts = statistics(r, condition).counts(condition, stored_value(stored));
            const auto n = static_cast<py::ssize_t>(counts.size());
            py::array_t<int64_t> repeat(n), bank(n), line(n);
            py::array_t<double> errors(n), cells(n);
            for (py::ssize_t i = 0; i < n; ++i) {
              const BankCount& count = counts[static_cast<size_t>(i)];
              repeat.mutable_at(i) = count.repeat;
              bank.mutable_at(i) = count.bank;
              errors.mutable_at(i) = count.errors;
              cells.mutable_at(i) = count.cells;
              line.mutable_at(i) = static_cast<int64_t>(count.line);
            }
            return py::make_tuple(repeat, bank, errors, cells, line);
          },
          py::arg("condition"), py::arg("stored"),
          "repeat, bank, errors, cells (NaN: not known), line, by ascending repeat and bank.")
      .def(
          "lines",
          [](const Reader& r, int condition, Axis axis, int stored, size_t most) {
            std::vector<int64_t> errors, cells;
            statistics(r, condition)
                .lines(condition, axis, stored_value(stored), most, errors, cells);
            return py::make_tuple(array_of(errors), array_of(cells));
          },
          py::arg("condition"), py::arg("axis"), py::arg("stored"), py::arg("most"))
      .def(
          "line_counts",
          [](const Reader& r, int condition, Axis axis, int stored) {
            std::vector<int64_t> errors, cells, lines;
            for (const LineCounts& c :
                 statistics(r, condition).line_counts(condition, axis, stored_value(stored))) {
              errors.push_back(c.errors);
              cells.push_back(c.cells);
              lines.push_back(c.lines);
            }
            return py::make_tuple(array_of(errors), array_of(cells), array_of(lines));
          },
          py::arg("condition"), py::arg("axis"), py::arg("stored"))
      .def(
          "cells",
          [](const Reader& r, int condition, int stored) {
            return array_of(statistics(r, condition).cells(condition, stored_value(stored)));
          },
          py::arg("condition"), py::arg("stored"))
      .def(
          "failing_cells",
          [](const Reader& r, int condition) {
            const auto cells = statistics(r, condition).failing_cells(condition);
            const auto n = static_cast<py::ssize_t>(cells.size());
            py::array_t<int32_t> bank(n), row(n), bit(n), stored(n), failures(n);
            for (py::ssize_t i = 0; i < n; ++i) {
              const FailingCell& cell = cells[static_cast<size_t>(i)];
              bank.mutable_at(i) = static_cast<int32_t>(cell.bank);
              row.mutable_at(i) = static_cast<int32_t>(cell.row);
              bit.mutable_at(i) = static_cast<int32_t>(cell.bit);
              stored.mutable_at(i) = cell.stored;
              failures.mutable_at(i) = static_cast<int32_t>(cell.failures);
            }
            return py::make_tuple(bank, row, bit, stored, failures);
          },
          py::arg("condition"), "bank, row, bit, stored value (2: unknown), failures.");
}

}  // namespace eden
