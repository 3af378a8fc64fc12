#include <pybind11/stl.h>

#include "costs/array.h"
#include "costs/cache.h"
#include "python/bind.h"

namespace py = pybind11;

namespace eden {

void bind_traffic(py::module_& m) {
  py::enum_<Dataflow>(m, "Dataflow", "What stays in an array's processing elements.")
      .value("output", Dataflow::kOutputStationary)
      .value("weight", Dataflow::kWeightStationary)
      .value("row", Dataflow::kRowStationary);

  using Size = std::int64_t;
  py::class_<ConvolutionShape>(m, "ConvolutionShape", "One group of a convolution.")
      .def(py::init([](Size samples, Size channels, std::pair<Size, Size> size, Size filters,
                       std::pair<Size, Size> kernel, std::pair<Size, Size> stride,
                       std::pair<Size, Size> padding, std::pair<Size, Size> dilation) {
             return ConvolutionShape{samples,        channels,      size.first,     size.second,
                                     filters,        kernel.first,  kernel.second,  stride.first,
                                     stride.second,  padding.first, padding.second, dilation.first,
                                     dilation.second};
           }),
           py::arg("samples"), py::arg("channels"), py::arg("size"), py::arg("filters"),
           py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"));

  py::class_<ProcessingArray>(m, "ProcessingArray", "Processing elements and memories, in words.")
      .def(py::init<Dataflow, Size, Size, Size, Size, Size>(), py::arg("dataflow"), py::arg("rows"),
           py::arg("columns"), py::arg("input_words"), py::arg("filter_words"),
           py::arg("accumulators"));

  m.def(
      "array_traffic",
      [](const ConvolutionShape& shape, const ProcessingArray& array) {
        const DramWords words = array_traffic(shape, array);
        return std::tuple(words.input_reads, words.filter_reads, words.output_writes);
      },
      py::arg("shape"), py::arg("array"), py::call_guard<py::gil_scoped_release>(),
      "Words of a group that are read of the input, read of the filters and written.");

  m.def(
      "cache_traffic",
      [](const std::vector<std::pair<Size, bool>>& operands,
         const std::vector<std::pair<std::vector<Size>, std::vector<Size>>>& layers,
         Size capacity_bytes, Size inferences) {
        std::vector<CachedOperand> cached;
        for (const auto& [bytes, kept] : operands) cached.push_back({bytes, kept});
        std::vector<CachedLayer> used;
        for (const auto& [reads, writes] : layers) used.push_back({reads, writes});
        const CacheBytes bytes = cache_traffic(cached, used, capacity_bytes, inferences);
        return std::pair(bytes.read, bytes.written);
      },
      py::arg("operands"), py::arg("layers"), py::arg("capacity_bytes"), py::arg("inferences"),
      py::call_guard<py::gil_scoped_release>(),
      "Bytes that cross, read and written by operand, in the last of several inferences.");
}

}  // namespace eden
