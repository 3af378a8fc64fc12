#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "devices/fit_models.h"
#include "devices/fit_patterns.h"
#include "devices/simulate_counts.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {
namespace {

std::vector<LineCount> lines(const Array<int64_t>& cells, const Array<int64_t>& failed) {
  if (cells.size() != failed.size()) {
    throw std::invalid_argument("cells and failed have " + std::to_string(cells.size()) + " and " +
                                std::to_string(failed.size()) + " lines; allowed are as many");
  }
  return count_lines(cells.data(), failed.data(), static_cast<size_t>(cells.size()));
}

}  // namespace

void bind_fit_models(py::module_& m) {
  py::enum_<Along>(m, "Along", "What the probability of being weak varies over.")
      .value("nothing", Along::kNothing)
      .value("bitlines", Along::kBitlines)
      .value("wordlines", Along::kWordlines);
  py::enum_<Bound>(m, "Bound", "The end of its range that an estimate lies at.")
      .value("none", Bound::kNone)
      .value("low", Bound::kLow)
      .value("high", Bound::kHigh);

  py::class_<ValueCounts>(m, "ValueCounts", "What was counted while the cells stored one value.")
      .def(py::init([](int64_t reads, double cells, double seen, double failures) {
             return ValueCounts{{reads, seen, failures}, cells, {}, {}};
           }),
           py::arg("reads"), py::arg("cells"), py::arg("seen"), py::arg("failures"))
      .def(
          "set_lines",
          [](ValueCounts& value, Along along, const Array<int64_t>& cells,
             const Array<int64_t>& failed) {
            (along == Along::kBitlines ? value.bitlines : value.wordlines) = lines(cells, failed);
          },
          py::arg("along"), py::arg("cells"), py::arg("failed"),
          "The cells of each line along an axis and how many of them were seen to fail.");

  py::class_<ParameterFit>(m, "ParameterFit", "An estimate with its interval.")
      .def_readonly("estimate", &ParameterFit::estimate)
      .def_readonly("low", &ParameterFit::low)
      .def_readonly("high", &ParameterFit::high)
      .def_readonly("deviation", &ParameterFit::deviation)
      .def_readonly("identified", &ParameterFit::identified)
      .def_readonly("bound", &ParameterFit::bound);
  py::class_<ModelFit>(m, "ModelFit", "A model fitted by maximum likelihood.")
      .def_readonly("weak", &ModelFit::weak)
      .def_readonly("ber", &ModelFit::ber)
      .def_readonly("failure", &ModelFit::failure)
      .def_readonly("dispersion", &ModelFit::dispersion)
      .def_readonly("log_likelihood", &ModelFit::log_likelihood)
      .def_readonly("parameters", &ModelFit::parameters)
      .def_readonly("observations", &ModelFit::observations);
  m.def(
      "fit_model",
      [](const std::vector<ValueCounts>& values, Along along, bool by_value,
         std::optional<double> failure, double likelihood_ratio, double tail, bool intervals) {
        const py::gil_scoped_release release;
        return fit_model(values, {along, by_value}, failure, {likelihood_ratio, tail}, intervals);
      },
      py::arg("values"), py::arg("along"), py::arg("by_value"), py::arg("failure"),
      py::arg("likelihood_ratio"), py::arg("tail"), py::arg("intervals") = true,
      "One of Models 0 to 3, by maximum likelihood.");

  py::class_<GoodnessBin>(m, "GoodnessBin", "One class of a goodness-of-fit test.")
      .def_readonly("value", &GoodnessBin::value)
      .def_readonly("cells", &GoodnessBin::cells)
      .def_readonly("low", &GoodnessBin::low)
      .def_readonly("high", &GoodnessBin::high)
      .def_readonly("observed", &GoodnessBin::observed)
      .def_readonly("expected", &GoodnessBin::expected);
  py::class_<Goodness>(m, "Goodness", "A goodness-of-fit test.")
      .def_readonly("bins", &Goodness::bins)
      .def_readonly("statistic", &Goodness::statistic)
      .def_readonly("p_value", &Goodness::p_value)
      .def_readonly("replicates", &Goodness::replicates);
  m.def(
      "lines_goodness",
      [](const std::vector<ValueCounts>& values, Along along, bool by_value, Along tested,
         const ModelFit& fit, int64_t replicates, uint64_t seed) {
        const py::gil_scoped_release release;
        return lines_goodness(values, {along, by_value}, tested, fit, replicates, seed);
      },
      py::arg("values"), py::arg("along"), py::arg("by_value"), py::arg("tested"), py::arg("fit"),
      py::arg("replicates"), py::arg("seed"), "Do lines follow a fitted model?");
  m.def(
      "reads_goodness",
      [](const std::vector<std::vector<double>>& histograms, double failure, bool fitted,
         int64_t replicates, uint64_t seed) {
        const py::gil_scoped_release release;
        return reads_goodness(histograms, failure, fitted, replicates, seed);
      },
      py::arg("histograms"), py::arg("failure"), py::arg("fitted"), py::arg("replicates"),
      py::arg("seed"), "Do the failures of seen cells follow one F?");

  py::class_<PatternFit>(m, "PatternFit", "A pattern with and without a rate of its own.")
      .def_readonly("log_likelihood_own", &PatternFit::log_likelihood_own)
      .def_readonly("log_likelihood_predicted", &PatternFit::log_likelihood_predicted)
      .def_readonly("own", &PatternFit::own)
      .def_readonly("predicted", &PatternFit::predicted)
      .def_readonly("readings", &PatternFit::readings);
  m.def(
      "fit_pattern",
      [](const std::vector<std::pair<double, double>>& zeros,
         const std::vector<std::pair<double, double>>& ones,
         const std::vector<std::pair<double, double>>& pattern, double share_of_ones) {
        const py::gil_scoped_release release;
        return fit_pattern(counts_of(zeros), counts_of(ones), counts_of(pattern), share_of_ones);
      },
      py::arg("zeros"), py::arg("ones"), py::arg("pattern"), py::arg("share_of_ones"),
      "Readings (errors, cells) of a pattern beside those of its zeros and ones.");

  m.def(
      "simulate_counts",
      [](Along along, double weak, double dispersion, double failure, int64_t reads, int64_t rows,
         int64_t columns, uint64_t seed) {
        SimulatedCounts counts;
        {
          const py::gil_scoped_release release;
          counts = simulate_counts({along, weak, dispersion, failure, reads, rows, columns}, seed);
        }
        return py::make_tuple(array_of(counts.bitlines), array_of(counts.wordlines),
                              array_of(counts.failures));
      },
      py::arg("along"), py::arg("weak"), py::arg("dispersion"), py::arg("failure"),
      py::arg("reads"), py::arg("rows"), py::arg("columns"), py::arg("seed"),
      "Cells seen to fail in each column and row of a simulated array, and how many cells failed "
      "in 0, 1, ... of their reads.");
}

}  // namespace eden
