#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "placement/placement.h"
#include "python/bind.h"

namespace py = pybind11;

namespace eden {

void bind_placement(py::module_& m) {
  m.attr("OPERAND_ALIGNMENT") = kOperandAlignment;

  py::enum_<PlacementObjective>(m, "PlacementObjective",
                                "Which parameter's reduction counts first.")
      .value("energy", PlacementObjective::kEnergy)
      .value("latency", PlacementObjective::kLatency);

  py::class_<OperatingPoint>(m, "PlacementOperatingPoint", "Volts, ns, ns, ms.")
      .def(py::init<double, double, double, double>(), py::arg("vdd"), py::arg("trcd"),
           py::arg("trp"), py::arg("refresh_interval"));

  py::class_<PartitionPoint>(m, "PartitionPoint", "An operating point and its error rates.")
      .def(py::init<OperatingPoint, double, double, double>(), py::arg("operating_point"),
           py::arg("ber"), py::arg("ber_zero"), py::arg("ber_one"));

  py::class_<PlacementPartition>(m, "PlacementPartition", "Capacity in bytes.")
      .def(py::init<std::string, uint64_t, std::vector<PartitionPoint>>(), py::arg("name"),
           py::arg("capacity"), py::arg("points"));

  py::class_<PlacementOperand>(m, "PlacementOperand", "Bytes, and the rates that are tolerated.")
      .def(py::init<std::string, uint64_t, double, double, double, double>(), py::arg("name"),
           py::arg("bytes"), py::arg("limit"), py::arg("limit_zero"), py::arg("limit_one"),
           py::arg("traffic"));

  py::class_<OperandSlot>(m, "OperandSlot", "Index of a partition, first byte within it.")
      .def_readonly("partition", &OperandSlot::partition)
      .def_readonly("address", &OperandSlot::address);

  py::class_<PlacementResult>(m, "PlacementResult", "Where operands go; each partition's point.")
      .def_readonly("operands", &PlacementResult::operands)
      .def_readonly("points", &PlacementResult::points)
      .def_readonly("used", &PlacementResult::used);

  py::class_<PlacementConstraints>(m, "PlacementConstraints",
                                   "Alignment in bytes, voltages, groups of partitions by index.")
      .def(py::init<uint64_t, std::optional<int>, std::vector<std::vector<int>>,
                    std::vector<std::vector<int>>>(),
           py::arg("alignment") = kOperandAlignment, py::arg("voltages") = py::none(),
           py::arg("shared_vdd") = std::vector<std::vector<int>>{},
           py::arg("shared_refresh") = std::vector<std::vector<int>>{});

  m.def(
      "tolerated",
      [](const std::vector<PlacementOperand>& operands, const std::vector<PartitionPoint>& points) {
        const std::vector<uint8_t> bytes = tolerated(operands, points);
        py::array_t<bool> result({operands.size(), points.size()});
        std::copy(bytes.begin(), bytes.end(), result.mutable_data());
        return result;
      },
      py::arg("operands"), py::arg("points"),
      "Whether each operand (rows) tolerates each point (columns).");

  m.def("check_placement_constraints", &check_constraints, py::arg("constraints"),
        py::arg("partitions"), "Raises ValueError for constraints that are out of range.");

  m.def("place_greedy", &place_greedy, py::arg("operands"), py::arg("partitions"),
        py::arg("nominal"), py::arg("objective"), py::arg("constraints") = PlacementConstraints{},
        py::call_guard<py::gil_scoped_release>(),
        "Algorithm 1: from the most to the least tolerant operand, the largest parameter "
        "reduction.");
}

}  // namespace eden
