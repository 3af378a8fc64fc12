#include "profiler/package.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

#include "core/random_layout.h"
#include "profiler/files.h"

namespace eden::profiler {
namespace {

constexpr const char* kMetadataKey = "eden";
constexpr const char* kFormat = "eden-package";
constexpr int kVersion = 1;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string reason_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return first_line(torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
}

Correction correction_named(const std::string& name) {
  if (name == "none") return Correction::kNone;
  if (name == "zero") return Correction::kZero;
  if (name == "clamp") return Correction::kClamp;
  throw std::invalid_argument("correction is \"" + name + "\"; allowed are none, zero and clamp");
}

Operand operand_of(const Json& entry) {
  Operand operand;
  operand.name = entry.at("name");
  operand.kind = entry.at("kind");
  operand.bytes = entry.at("bytes");
  operand.moved_bytes = entry.at("moved_bytes");
  operand.storage = entry.at("storage");
  operand.address = entry.at("address");
  operand.correction = correction_named(entry.at("correction"));
  if (!entry.at("errors").is_null()) operand.errors.emplace(entry.at("errors"));
  if (!entry.at("table_first").is_null()) operand.table_first = entry.at("table_first");
  return operand;
}

std::string shape_text(const std::vector<int64_t>& sizes, const std::string& samples) {
  std::string text = "(" + samples;
  for (size_t d = 1; d < sizes.size(); ++d) text += ", " + std::to_string(sizes[d]);
  return text + ")";
}

std::string dtype_name(at::ScalarType dtype) {
  // What Python calls it, where c10 has a name of its own.
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kShort:
      return "int16";
    case at::kChar:
      return "int8";
    case at::kByte:
      return "uint8";
    default:
      return c10::toString(dtype);
  }
}

// So many rows, the last one repeated.
at::Tensor filled(const at::Tensor& rows, int64_t count) {
  if (rows.size(0) == count) return rows.contiguous();
  std::vector<int64_t> sizes = rows.sizes().vec();
  sizes[0] = count - rows.size(0);
  return at::cat({rows, rows.slice(0, rows.size(0) - 1).expand(sizes)});
}

}  // namespace

Package::Package(std::string path) : path_(std::move(path)) {
  digest_ = digest_of(read_file(path_));
  std::unordered_map<std::string, std::string> metadata;
  try {
    loader_ = std::make_unique<torch::inductor::AOTIModelPackageLoader>(path_);
    metadata = loader_->get_metadata();
  } catch (const std::exception& error) {
    throw FileError(path_, "no package that can be run here: " + reason_of(error));
  }
  const auto found = metadata.find(kMetadataKey);
  if (found == metadata.end()) {
    throw FileError(path_,
                    "a package that eden export has not written: its metadata has no part 'eden'");
  }
  read_metadata(found->second);
}

void Package::read_metadata(const std::string& text) {
  const Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) throw FileError(path_, "its metadata is no JSON object");
  const auto expect = [&](const char* field, const Json& wanted, const char* advice) {
    const Json found = body.value(field, Json());
    if (found == wanted) return;
    throw FileError(path_, std::string(field) + ": found " + json_text(found).substr(0, 80) +
                               ", allowed is " + json_text(wanted) + advice);
  };
  expect("format", kFormat, "");
  expect("version", kVersion, " (this version of eden's)");
  expect("random_layout", kRandomLayoutVersion, ", this version of eden's: export it again");
  std::string where = "its metadata";
  try {
    input_shape_ = body.at("input_shape").get<std::vector<int64_t>>();
    input_dtype_ = body.at("input_dtype");
    table_entries_ = body.at("table_entries");
    if (input_shape_.empty() || input_shape_[0] < 1) {
      throw std::invalid_argument("input_shape counts no samples");
    }
    for (const Json& entry : body.at("operands")) {
      where = "operands[" + std::to_string(operands_.size()) + "]";
      Operand operand = operand_of(entry);
      if (operand.errors && operand.errors->of_lines() &&
          operand.table_first + static_cast<int64_t>(operand.errors->table().size()) >
              table_entries_) {
        throw std::invalid_argument("table_first is " + std::to_string(operand.table_first) +
                                    "; allowed is what leaves its lines in the table");
      }
      operands_.push_back(std::move(operand));
    }
  } catch (const std::exception& error) {
    throw FileError(path_, where + ": " + first_line(error.what()));
  }
  const auto faulty = [](const Operand& operand) { return operand.errors.has_value(); };
  if (std::none_of(operands_.begin(), operands_.end(), faulty)) {
    throw FileError(path_, "none of its operands has an error model; allowed is one or more");
  }
}

void Package::check_samples(const at::Tensor& inputs, const std::string& path) const {
  const std::vector<int64_t> sizes = inputs.sizes().vec();
  const std::string dtype = dtype_name(inputs.scalar_type());
  if (sizes.size() == input_shape_.size() && dtype == input_dtype_ &&
      std::equal(sizes.begin() + 1, sizes.end(), input_shape_.begin() + 1)) {
    return;
  }
  throw FileError(path, "tensor inputs has the shape " +
                            shape_text(sizes, std::to_string(sizes[0])) + " and the dtype " +
                            dtype + "; allowed for " + path_ + " is " +
                            shape_text(input_shape_, "N") + ", N of 1 or more, " + input_dtype_);
}

at::Tensor Package::run(const at::Tensor& inputs, const std::vector<ErrorModel>& errors,
                        uint64_t chip) {
  const bool reliable = errors.empty();
  at::Tensor regions =
      at::empty({static_cast<int64_t>(operands_.size()), kRegionFields}, at::kLong);
  at::Tensor table = at::zeros({table_entries_}, at::kLong);
  int64_t* row = regions.data_ptr<int64_t>();
  size_t next = 0;
  for (const Operand& operand : operands_) {
    const ErrorModel* model = operand.errors && !reliable ? &errors.at(next++) : nullptr;
    const auto fields =
        model != nullptr ? model->region(operand.address, operand.correction, operand.table_first)
                         : make_region(0.0, 0.0, 1.0, operand.address,
                                       reliable ? Correction::kNone : operand.correction);
    row = std::copy(fields.begin(), fields.end(), row);
    if (model != nullptr) {
      const std::vector<int64_t> entries = model->table();
      std::copy(entries.begin(), entries.end(), table.data_ptr<int64_t>() + operand.table_first);
    }
  }
  const int64_t step = input_shape_[0];
  std::vector<at::Tensor> outputs;
  for (int64_t begin = 0; begin < inputs.size(0); begin += step) {
    const at::Tensor rows = inputs.slice(0, begin, begin + step);
    std::vector<at::Tensor> arguments{filled(rows, step), regions,
                                      at::scalar_tensor(static_cast<int64_t>(chip), at::kLong),
                                      at::scalar_tensor(begin / step, at::kLong)};
    if (table_entries_ > 0) arguments.push_back(table);
    outputs.push_back(loader_->run(arguments).at(0).slice(0, 0, rows.size(0)));
  }
  return at::cat(outputs);
}

}  // namespace eden::profiler
