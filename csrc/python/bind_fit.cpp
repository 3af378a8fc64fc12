#include <pybind11/stl.h>

#include "devices/fit.h"
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
  m.def("bayesian_information_criterion", &bayesian_information_criterion,
        py::arg("log_likelihood"), py::arg("parameters"), py::arg("observations"),
        "Bayesian information criterion.");
}

}  // namespace eden
