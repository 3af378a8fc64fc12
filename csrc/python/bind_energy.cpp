#include <pybind11/stl.h>

#include "costs/energy.h"
#include "python/bind.h"

namespace py = pybind11;

namespace eden {

void bind_energy(py::module_& m) {
  py::enum_<VoltageLaw>(m, "VoltageLaw", "How the energy depends on the supply voltage.")
      .value("linear", VoltageLaw::kLinear)
      .value("quadratic", VoltageLaw::kQuadratic);

  py::class_<DomainCurrents>(m, "DomainCurrents", "Volts, and six currents in mA.")
      .def(py::init<std::string, double, double, double, double, double, double, double>(),
           py::arg("name"), py::arg("voltage"), py::arg("idd0"), py::arg("idd2n"), py::arg("idd3n"),
           py::arg("idd4r"), py::arg("idd4w"), py::arg("idd5"));

  py::class_<DramTiming>(m, "DramTiming", "ns.")
      .def(py::init<double, double, double, double, double>(), py::arg("tck"), py::arg("tras"),
           py::arg("trc"), py::arg("trfc"), py::arg("tburst"));

  py::class_<CommandCounts>(m, "CommandCounts", "Numbers of commands and of clock cycles.")
      .def(py::init<double, double, double, double, double, double, double>(), py::arg("activates"),
           py::arg("precharges"), py::arg("reads"), py::arg("writes"), py::arg("refreshes"),
           py::arg("active_cycles"), py::arg("precharged_cycles"));

  py::class_<CommandEnergy>(m, "CommandEnergy", "pJ of one domain of one chip.")
      .def_readonly("activate", &CommandEnergy::activate)
      .def_readonly("precharge", &CommandEnergy::precharge)
      .def_readonly("read", &CommandEnergy::read)
      .def_readonly("write", &CommandEnergy::write)
      .def_readonly("refresh", &CommandEnergy::refresh)
      .def_readonly("active_background", &CommandEnergy::active_background)
      .def_readonly("precharged_background", &CommandEnergy::precharged_background)
      .def_property_readonly("total", &CommandEnergy::total);

  m.def("voltage_factor", &voltage_factor, py::arg("law"), py::arg("voltage"), py::arg("reference"),
        "Energy at a voltage over that at another one.");
  m.def("command_energy", &command_energy, py::arg("domain"), py::arg("timing"), py::arg("counts"),
        "Energy of a chip's domain by command, standby apart.");
}

}  // namespace eden
