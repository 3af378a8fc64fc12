#include <pybind11/stl.h>

#include "base/refusal.h"
#include "devices/fit.h"
#include "devices/fit_lines.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {

void bind_fit(py::module_& m) {
  py::class_<RateEstimate>(m, "RateEstimate", "A rate with the ends of its interval.")
      .def_readonly("estimate", &RateEstimate::estimate)
      .def_readonly("low", &RateEstimate::low)
      .def_readonly("high", &RateEstimate::high);

  py::class_<RateFit>(m, "RateFit", "Rates fitted to groups of readings with one dispersion.")
      .def_readonly("rates", &RateFit::rates)
      .def_readonly("dispersion", &RateFit::dispersion)
      .def_readonly("dispersion_fitted", &RateFit::dispersion_fitted)
      .def_readonly("log_likelihood", &RateFit::log_likelihood)
      .def_readonly("observations", &RateFit::observations)
      .def_readonly("parameters", &RateFit::parameters);

  m.def(
      "fit_rates",
      [](const std::vector<Pairs>& groups, double likelihood_ratio, double tail,
         std::optional<double> dispersion) {
        std::vector<std::vector<Count>> counts;
        for (const Pairs& group : groups) counts.push_back(counts_of(group));
        const py::gil_scoped_release release;
        return fit_rates(counts, {likelihood_ratio, tail}, dispersion);
      },
      py::arg("groups"), py::arg("likelihood_ratio"), py::arg("tail"),
      py::arg("dispersion") = py::none(),
      "One rate per group of (errors, cells) and one dispersion, by maximum likelihood.");
  m.def(
      "log_beta_binomial",
      [](double errors, double cells, double rate, double dispersion) {
        return log_beta_binomial({errors, cells}, rate, dispersion);
      },
      py::arg("errors"), py::arg("cells"), py::arg("rate"), py::arg("dispersion"),
      "Logarithm of the beta-binomial probability of a count.");
  m.def(
      "log_beta_binomial_spread",
      py::vectorize([](double errors, double cells, double mean, double complement, double spread) {
        return log_beta_binomial_spread({errors, cells}, mean, complement, spread);
      }),
      py::arg("errors"), py::arg("cells"), py::arg("mean"), py::arg("complement"),
      py::arg("spread"), "The same of many, for 1 / (a + b), unchecked.");
  m.attr("LOG_DISPERSIONS") = std::pair(kLowestLogDispersion, kHighestLogDispersion);

  py::class_<LineLikelihood>(m, "LineLikelihood", "The likelihood of cells that fail along lines.")
      .def(py::init([](const Array<int64_t>& cells, const Array<int64_t>& seen,
                       const std::optional<Array<int64_t>>& lines) {
             if (cells.size() != seen.size() || (lines && lines->size() != seen.size())) {
               refuse("cells, seen and lines differ in length; allowed are as many of each");
             }
             return LineLikelihood(count_lines(cells.data(), seen.data(),
                                               lines ? lines->data() : nullptr,
                                               static_cast<size_t>(cells.size())));
           }),
           py::arg("cells"), py::arg("seen"), py::arg("lines") = py::none())
      .def("__call__",
           py::vectorize([](LineLikelihood& lines, double mean, double complement, double spread,
                            double share, double unseen) {
             return lines({mean, complement, spread}, {share, unseen});
           }),
           py::arg("mean"), py::arg("complement"), py::arg("spread"), py::arg("share"),
           py::arg("unseen"));
  m.def("line_probability",
        py::vectorize([](double cells, double seen, double mean, double complement, double spread,
                         double share, double unseen) {
          return line_probability(cells, seen, {mean, complement, spread}, {share, unseen});
        }),
        py::arg("cells"), py::arg("seen"), py::arg("mean"), py::arg("complement"),
        py::arg("spread"), py::arg("share"), py::arg("unseen"),
        "The probability that so many of a line's cells are seen to fail.");
}

}  // namespace eden
