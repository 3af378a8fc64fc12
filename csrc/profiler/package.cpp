#include "profiler/package.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "base/random_layout.h"
#include "base/refusal.h"
#include "profiler/files.h"

namespace eden::profiler {
namespace {

namespace fs = std::filesystem;
using Loader = torch::inductor::AOTIModelPackageLoader;

#define EDEN_CUDA_OPERATORS "_ops_cuda.so"
constexpr const char* kModel = "model";  // torch's name of the only one in a package
constexpr const char* kMetadataKey = "eden";
constexpr const char* kFormat = "eden-package";
constexpr int kVersion = 2;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string reason_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return first_line(torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
}

Correction correction_named(const std::string& name) {
  if (name == "none") return Correction::kNone;
  if (name == "zero") return Correction::kZero;
  if (name == "clamp") return Correction::kClamp;
  refuse("correction is \"", name, "\"; allowed are none, zero and clamp");
}

int64_t count_of(const Json& entry, const char* field) {
  const Json& found = entry.at(field);
  if (!found.is_number_unsigned() ||
      found.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    refuse_value(field, shown(found), "a whole number of 0 or more");
  }
  return found;
}

Operand operand_of(const Json& entry) {
  Operand operand;
  operand.name = entry.at("name");
  operand.kind = entry.at("kind");
  operand.bytes = count_of(entry, "bytes");
  operand.moved_bytes = entry.at("moved_bytes");
  operand.storage = entry.at("storage");
  operand.address = static_cast<uint64_t>(count_of(entry, "address"));
  operand.correction = correction_named(entry.at("correction"));
  const int64_t plane = count_of(entry, "plane");
  if (plane > std::numeric_limits<uint32_t>::max()) refuse_value("plane", plane, "below 2^32");
  operand.plane = static_cast<uint32_t>(plane);
  if (!entry.at("errors").is_null()) operand.errors.emplace(entry.at("errors"));
  const bool of_lines = operand.errors && operand.errors->table_length() > 0;
  if (of_lines) operand.table_first = count_of(entry, "table_first");
  if (!of_lines && !entry.at("table_first").is_null()) {
    refuse("table_first is ", shown(entry.at("table_first")),
           "; allowed without errors of lines is null");
  }
  return operand;
}

void put_in_plane(uint32_t plane, int64_t* row) {
  row[kCorrection] |= std::bit_cast<int64_t>(uint64_t{plane} << kPlaneShift);
}

std::string shape_text(const std::vector<int64_t>& sizes, const std::string& samples) {
  std::string text = "(" + samples;
  for (size_t d = 1; d < sizes.size(); ++d) text += ", " + std::to_string(sizes[d]);
  return text + ")";
}

// So many rows, the last one repeated.
at::Tensor filled(const at::Tensor& rows, int64_t count) {
  if (rows.size(0) == count) return rows.contiguous();
  std::vector<int64_t> sizes = rows.sizes().vec();
  sizes[0] = count - rows.size(0);
  return at::cat({rows, rows.slice(0, rows.size(0) - 1).expand(sizes)});
}

// Makes the operators for a GPU known to torch, or throws std::runtime_error saying what is
// missing.
void prepare_cuda(const std::string& operators) {
  if (!at::hasCUDA()) {
    refuse<std::runtime_error>(
#ifdef EDEN_TORCH_CUDA
        "there is no GPU here, or no driver for it; allowed is a machine with one, or a package of "
        "a network on the CPU"
#else
        "this eden-profile is linked to a torch for CPUs alone; allowed is one that was built with "
        "a torch for CUDA, or a package of a network on the CPU"
#endif
    );
  }
  std::vector<fs::path> places{operators};
  if (operators.empty()) {
    std::error_code error;
    places = {fs::read_symlink("/proc/self/exe", error).replace_filename(EDEN_CUDA_OPERATORS),
              EDEN_OUTPUT_DIR "/" EDEN_CUDA_OPERATORS};
  }
  std::string tried;
  for (const fs::path& place : places) {
    // Never closed: torch keeps what it registers.
    if (dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return;
    tried += (tried.empty() ? "" : "; ") + std::string(dlerror());
  }
  refuse<std::runtime_error>(
      "EDEN's operators for a GPU cannot be loaded (", tried,
      "); a build with EDEN_CUDA=ON makes them, --cuda-operators names them");
}

}  // namespace

Package::Package(std::string path, const std::string& cuda_operators) : path_(std::move(path)) {
  digest_ = digest_of(read_file(path_));
  const auto attempt = [&](const char* what, const auto& step) {
    try {
      return step();
    } catch (const std::exception& error) {
      refuse_file(path_, what, reason_of(error));
    }
  };
  const auto metadata = attempt("no package that can be run here: ",
                                [&] { return Loader::load_metadata_from_package(path_, kModel); });
  const auto own = metadata.find(kMetadataKey);
  if (own == metadata.end()) {
    refuse_file(path_,
                "a package that eden export has not written: its metadata has no part 'eden'");
  }
  read_metadata(own->second);
  const auto device = metadata.find("AOTI_DEVICE_KEY");
  const std::string type = device == metadata.end() ? "cpu" : device->second;
  if (type == "cuda") {
    attempt("compiled for a GPU: ", [&] { prepare_cuda(cuda_operators); });
    device_ = at::Device(at::kCUDA, 0);  // CUDA_VISIBLE_DEVICES says which one that is
  } else if (type != "cpu") {
    refuse_file(path_, "compiled for '", type, "'; allowed are cpu and cuda");
  }
  attempt("no package that can be run here: ", [&] {
    loader_ = std::make_unique<Loader>(path_, kModel, /*run_single_threaded=*/false,
                                       /*num_runners=*/1, device_.index());
  });
}

void Package::read_metadata(const std::string& text) {
  const Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) refuse_file(path_, "its metadata is no JSON object");
  const auto expect = [&](const char* field, const Json& wanted, const char* advice) {
    const Json found = body.value(field, Json());
    if (found == wanted) return;
    refuse_file(path_, field, ": found ", shown(found), ", allowed is ", shown(wanted), advice);
  };
  expect("format", kFormat, "");
  expect("version", kVersion, " (this version of eden's)");
  expect("random_layout", kRandomLayoutVersion, ", this version of eden's: export it again");
  std::string where = "its metadata";
  try {
    input_shape_ = body.at("input_shape").get<std::vector<int64_t>>();
    input_dtype_ = body.at("input_dtype");
    network_ = body.value("network", "");
    const int64_t entries = count_of(body, "table_entries");
    table_ = at::zeros({entries}, at::kLong);
    if (input_shape_.empty() || input_shape_[0] < 1) {
      refuse("input_shape counts no samples");
    }
    for (const Json& entry : body.at("operands")) {
      where = "operands[" + std::to_string(operands_.size()) + "]";
      Operand operand = operand_of(entry);
      const int64_t length = operand.errors ? operand.errors->table_length() : 0;
      if (length > entries || operand.table_first > entries - length) {
        refuse_value("table_first", operand.table_first, "what leaves its lines in the table");
      }
      operands_.push_back(std::move(operand));
    }
  } catch (const std::exception& error) {
    refuse_file(path_, where, ": ", first_line(error.what()));
  }
  const auto faulty = [](const Operand& operand) { return operand.errors.has_value(); };
  if (std::none_of(operands_.begin(), operands_.end(), faulty)) {
    refuse_file(path_, "none of its operands has an error model; allowed is one or more");
  }
  reliable_ = at::empty({static_cast<int64_t>(operands_.size()), kRegionFields}, at::kLong);
  regions_ = at::empty_like(reliable_);
  for (size_t i = 0; i < operands_.size(); ++i) {
    for (const auto& [rows, correction] : {std::pair{&reliable_, Correction::kNone},
                                           std::pair{&regions_, operands_[i].correction}}) {
      int64_t* const row = (*rows)[static_cast<int64_t>(i)].data_ptr<int64_t>();
      std::ranges::copy(make_region(0.0, 0.0, 1.0, operands_[i].address, correction), row);
      put_in_plane(operands_[i].plane, row);
    }
  }
}

void Package::check_samples(const at::Tensor& inputs, const std::string& path) const {
  const std::vector<int64_t> sizes = inputs.sizes().vec();
  const std::string dtype(c10::getDtypeNames(inputs.scalar_type()).first);
  if (sizes.size() == input_shape_.size() && dtype == input_dtype_ &&
      std::equal(sizes.begin() + 1, sizes.end(), input_shape_.begin() + 1)) {
    return;
  }
  refuse_file(path, "tensor inputs has the shape ", shape_text(sizes, digits_of(sizes[0])),
              " and the dtype ", dtype, "; allowed for ", path_, " is ",
              shape_text(input_shape_, "N"), ", N of 1 or more, ", input_dtype_);
}

void Package::set_rates(const std::vector<double>& rates) {
  if (rates == rates_) return;
  size_t next = 0;
  for (size_t i = 0; i < operands_.size(); ++i) {
    const Operand& operand = operands_[i];
    if (!operand.errors) continue;
    const double rate = rates.at(next);
    const bool changed = rates_.empty() || rates_[next] != rate;
    ++next;
    if (!changed) continue;
    int64_t* const row = regions_[static_cast<int64_t>(i)].data_ptr<int64_t>();
    operand.errors->write(rate, operand.address, operand.correction, operand.table_first, row,
                          table_.data_ptr<int64_t>());
    put_in_plane(operand.plane, row);
  }
  rates_ = rates;
}

at::Tensor Package::run(const at::Tensor& inputs, const std::vector<double>& rates, uint64_t chip,
                        const std::function<void()>& between_runs) {
  if (!rates.empty()) set_rates(rates);
  const at::Tensor regions = (rates.empty() ? reliable_ : regions_).to(device_);
  const at::Tensor table = table_.to(device_);
  const auto number = [&](int64_t value) {
    return at::scalar_tensor(value, at::kLong).to(device_);
  };
  const at::Tensor seed = number(static_cast<int64_t>(chip));
  const int64_t step = input_shape_[0];
  std::vector<at::Tensor> outputs;
  for (int64_t begin = 0; begin < inputs.size(0); begin += step) {
    between_runs();
    const at::Tensor rows = inputs.slice(0, begin, begin + step);
    std::vector<at::Tensor> arguments{filled(rows, step).to(device_), regions, seed,
                                      number(begin / step)};
    if (table.numel() > 0) arguments.push_back(table);
    outputs.push_back(loader_->run(arguments).at(0).slice(0, 0, rows.size(0)).cpu());
  }
  if (device_.is_cuda()) {
    c10::Dispatcher::singleton()
        .findSchemaOrThrow("eden::check_reads", "")
        .typed<void(at::Tensor)>()
        .call(regions);
  }
  return at::cat(outputs);
}

}  // namespace eden::profiler
