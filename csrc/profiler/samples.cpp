#include "profiler/samples.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "base/sha256.h"
#include "profiler/files.h"
#include "profiler/json.h"

namespace eden::profiler {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the format's own bound

const std::map<std::string, at::ScalarType> kDtypes = {
    {"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
    {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
    {"I16", at::kShort},     {"I8", at::kChar},   {"U8", at::kByte}};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), content_(read_file(path)) {
    if (content_.size() < kLengthBytes) {
      fail("has ", content_.size(), " bytes; a safetensors file has 8 or more");
    }
    uint64_t length = 0;
    for (size_t i = kLengthBytes; i-- > 0;) {
      length = (length << 8) | static_cast<unsigned char>(content_[i]);
    }
    if (length > kMostHeaderBytes || length > content_.size() - kLengthBytes) {
      fail("its header is said to have ", length, " bytes, the file has ", content_.size(),
           "; it is truncated or no safetensors file");
    }
    begin_ = kLengthBytes + static_cast<size_t>(length);
    header_ = Json::parse(content_.begin() + kLengthBytes,
                          content_.begin() + static_cast<std::ptrdiff_t>(begin_), nullptr, false);
    if (!header_.is_object()) fail("its header is no JSON object; this is no safetensors file");
    header_.erase("__metadata__");
  }

  template <class... Part>
  [[noreturn]] void fail(const Part&... problem) const {
    refuse_file(path_, problem...);
  }

  std::string names() const {
    std::string names;
    for (const auto& [name, entry] : header_.items()) names += (names.empty() ? "" : ", ") + name;
    return names.empty() ? "no tensor" : names;
  }

  bool has(const std::string& name) const { return header_.contains(name); }
  size_t count() const { return header_.size(); }

  at::Tensor tensor(const std::string& name) const {
    const Json& entry = header_[name];
    const std::string where = "tensor " + name + ": ";
    if (!entry.is_object()) fail(where + "is described by no object");
    const Json dtype = entry.value("dtype", Json());
    const auto known = dtype.is_string() ? kDtypes.find(dtype.get<std::string>()) : kDtypes.end();
    if (known == kDtypes.end()) {
      fail(where, "dtype is ", shown(dtype),
           "; allowed are F64, F32, F16, BF16, I64, I32, I16, I8 and U8");
    }
    const std::vector<int64_t> shape = numbers(entry, "shape", where);
    const std::vector<int64_t> place = numbers(entry, "data_offsets", where);
    const int64_t bytes = static_cast<int64_t>(content_.size() - begin_);
    if (place.size() != 2 || place[0] > place[1] || place[1] > bytes) {
      fail(where, "data_offsets are ", shown(entry["data_offsets"]),
           "; allowed are a begin and an end within the ", bytes, " bytes of data");
    }
    int64_t needed = static_cast<int64_t>(at::elementSize(known->second));
    for (const int64_t size : shape) {
      if (size != 0 && needed > std::numeric_limits<int64_t>::max() / size) {
        fail(where + "its shape has more elements than there are addresses");
      }
      needed *= size;
    }
    if (needed != place[1] - place[0]) {
      fail(where, "data_offsets hold ", place[1] - place[0],
           " bytes; allowed for its shape and dtype are ", needed);
    }
    at::Tensor result = at::empty(shape, known->second);
    if (needed > 0) {
      std::memcpy(result.data_ptr(), content_.data() + begin_ + place[0],
                  static_cast<size_t>(needed));
    }
    return result;
  }

 private:
  std::vector<int64_t> numbers(const Json& entry, const char* field,
                               const std::string& where) const {
    const Json list = entry.value(field, Json());
    std::vector<int64_t> found;
    for (const Json& value : list.is_array() ? list : Json::array({-1})) {
      if (!value.is_number_unsigned() ||
          value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
        fail(where, field, " is ", shown(list),
             "; allowed is a list of whole numbers of 0 or more");
      }
      found.push_back(value.get<int64_t>());
    }
    return found;
  }

  std::string path_;
  std::string content_;
  size_t begin_ = 0;
  Json header_;
};

std::string shape_text(const at::Tensor& tensor) {
  std::string text = "(";
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    text += (d > 0 ? ", " : "") + std::to_string(tensor.size(d));
  }
  return text + ")";
}

// SHA-256 of dtype, shape behind the samples, as Python writes both, and bytes.
std::string digest_of_tensor(const at::Tensor& tensor) {
  std::string shape = shape_text(tensor[0]);
  if (tensor.dim() == 2) shape.insert(shape.size() - 1, 1, ',');
  Sha256 digest;
  digest.update("torch.");
  digest.update(c10::getDtypeNames(tensor.scalar_type()).first);
  digest.update(shape);
  digest.update(tensor.data_ptr(), tensor.nbytes());
  return digest.digits();
}

}  // namespace

Samples read_samples(const std::string& path) {
  const Reader reader(path);
  if (reader.count() != 2 || !reader.has("inputs") || !reader.has("targets")) {
    reader.fail("holds ", reader.names(), "; allowed are inputs and targets");
  }
  Samples samples{reader.tensor("inputs"), reader.tensor("targets"), ""};
  if (samples.inputs.dim() < 1 || samples.inputs.size(0) == 0) {
    reader.fail("tensor inputs has the shape ", shape_text(samples.inputs),
                "; allowed is (N, ...), N of 1 or more");
  }
  if (samples.targets.dim() != 1 || samples.targets.size(0) != samples.inputs.size(0)) {
    reader.fail("tensor targets has the shape ", shape_text(samples.targets), "; allowed is (",
                samples.inputs.size(0), "), as inputs");
  }
  if (samples.targets.is_floating_point()) {
    reader.fail(
        "tensor targets holds numbers of a floating-point dtype; allowed are I64, I32, "
        "I16, I8 and U8");
  }
  const Json parts = {{"[0]", digest_of_tensor(samples.inputs)},
                      {"[1]", digest_of_tensor(samples.targets)}};
  samples.digest = digest_of(parts.dump());
  samples.targets = samples.targets.to(at::kLong);
  return samples;
}

}  // namespace eden::profiler
