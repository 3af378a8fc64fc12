#include <pybind11/stl.h>

#include "devices/curve_fit.h"
#include "devices/population.h"
#include "devices/predict_reading.h"
#include "python/bind.h"
#include "python/convert.h"

namespace py = pybind11;

namespace eden {

void bind_curves(py::module_& m) {
  py::enum_<CurveLink>(m, "CurveLink", "How the latency that cells need is distributed.")
      .value("probit", CurveLink::kProbit)
      .value("logit", CurveLink::kLogit);
  py::enum_<Asymptote>(m, "Asymptote", "The share of cells that can fail.")
      .value("one", Asymptote::kOne)
      .value("own", Asymptote::kOwn)
      .value("shared", Asymptote::kShared);
  py::class_<CurveParameters>(m, "CurveParameters", "Location and scale, and the asymptote.")
      .def(py::init<double, double, double>(), py::arg("location"), py::arg("scale"),
           py::arg("asymptote"))
      .def_readonly("location", &CurveParameters::location)
      .def_readonly("scale", &CurveParameters::scale)
      .def_readonly("asymptote", &CurveParameters::asymptote);
  py::class_<CurveRule>(m, "CurveRule", "What curves of several groups have in common.")
      .def(py::init<CurveLink, Asymptote, bool>(), py::arg("link"), py::arg("asymptote"),
           py::arg("shared_scale"))
      .def_readonly("link", &CurveRule::link)
      .def_readonly("asymptote", &CurveRule::asymptote)
      .def_readonly("shared_scale", &CurveRule::shared_scale);
  py::class_<ConditionLikelihood>(m, "ConditionLikelihood",
                                  "The log-likelihood of the log-odds of one condition.")
      .def(py::init([](const Pairs& readings, std::optional<double> dispersion, double weight) {
             return ConditionLikelihood(counts_of(readings), dispersion, weight);
           }),
           py::arg("readings"), py::arg("dispersion") = py::none(), py::arg("weight") = 1.0,
           py::call_guard<py::gil_scoped_release>())
      .def("__call__", &ConditionLikelihood::operator(), py::arg("log_odds"))
      .def("lower", &ConditionLikelihood::lower, py::arg("drop"))
      .def("upper", &ConditionLikelihood::upper, py::arg("drop"))
      .def("log_marginal", &ConditionLikelihood::log_marginal, py::arg("mean"),
           py::arg("deviation"))
      .def_property_readonly("best", &ConditionLikelihood::best)
      .def_property_readonly("scale", &ConditionLikelihood::scale)
      .def_property_readonly("dispersion", &ConditionLikelihood::dispersion)
      .def_property_readonly("log_likelihood", &ConditionLikelihood::log_likelihood)
      .def_property_readonly("informative", &ConditionLikelihood::informative);
  py::class_<CurveCondition>(m, "CurveCondition", "A place on the axis and its likelihood.")
      .def(py::init<double, ConditionLikelihood>(), py::arg("at"), py::arg("likelihood"))
      .def_readonly("at", &CurveCondition::at)
      .def_readonly("likelihood", &CurveCondition::likelihood);
  py::class_<CurveFit>(m, "CurveFit", "One curve per group, by maximum likelihood.")
      .def_readonly("groups", &CurveFit::groups)
      .def_readonly("log_likelihood", &CurveFit::log_likelihood)
      .def_readonly("parameters", &CurveFit::parameters);
  py::class_<PopulationFit>(m, "PopulationFit", "A normal distribution of log-odds over modules.")
      .def_readonly("mean", &PopulationFit::mean)
      .def_readonly("deviation", &PopulationFit::deviation)
      .def_readonly("log_likelihood", &PopulationFit::log_likelihood);

  m.def("curve_log_odds", &curve_log_odds, py::arg("link"), py::arg("parameters"), py::arg("at"),
        "Logarithm of the odds of a curve's rate at an operating point.");
  m.def("fit_curves", &fit_curves, py::arg("groups"), py::arg("rule"),
        py::call_guard<py::gil_scoped_release>(), "One curve per group of conditions.");
  m.def(
      "curve_ends",
      [](const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule,
         const CurveFit& fit, size_t group, double at, double drop) {
        const CurveEnds ends = curve_ends(groups, rule, fit, group, at, drop);
        return std::pair(ends.low, ends.high);
      },
      py::arg("groups"), py::arg("rule"), py::arg("fit"), py::arg("group"), py::arg("at"),
      py::arg("drop"), py::call_guard<py::gil_scoped_release>(),
      "Profile-likelihood interval of the log-odds of a group's rate.");
  m.def(
      "parameter_ends",
      [](const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule,
         const CurveFit& fit, size_t group, int parameter, double drop) {
        const CurveEnds ends = parameter_ends(groups, rule, fit, group, parameter, drop);
        return std::pair(ends.low, ends.high);
      },
      py::arg("groups"), py::arg("rule"), py::arg("fit"), py::arg("group"), py::arg("parameter"),
      py::arg("drop"), py::call_guard<py::gil_scoped_release>(),
      "Profile-likelihood interval of a location, scale or asymptote (0, 1, 2).");
  m.def(
      "predict_reading",
      [](const Pairs& readings, double cells, int repeats, std::optional<double> dispersion,
         double drop) {
        const CurveEnds ends =
            predict_reading(counts_of(readings), cells, repeats, dispersion, drop);
        return std::pair(ends.low, ends.high);
      },
      py::arg("readings"), py::arg("cells"), py::arg("repeats"), py::arg("dispersion"),
      py::arg("drop"), py::call_guard<py::gil_scoped_release>(),
      "Interval of the number of errors of a further reading.");
  m.def(
      "fit_dispersion",
      [](const std::vector<Pairs>& conditions) {
        std::vector<std::vector<Count>> counts;
        for (const Pairs& readings : conditions) counts.push_back(counts_of(readings));
        const DispersionFit fit = fit_dispersion(counts);
        return std::pair(fit.dispersion, fit.log_likelihood);
      },
      py::arg("conditions"), py::call_guard<py::gil_scoped_release>(),
      "One dispersion for all conditions, and the log-likelihood.");
  m.def("fit_population", &fit_population, py::arg("modules"),
        py::call_guard<py::gil_scoped_release>(),
        "Mean and standard deviation of the log-odds of modules.");
  m.def("seeded_normals", &seeded_normals, py::arg("seed"), py::arg("stream"), py::arg("count"),
        "Standard normal numbers, functions of (seed, stream, index).");
}

}  // namespace eden
