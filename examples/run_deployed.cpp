// Runs a deployed network from a memory image, without Python and without EDEN: a package that
// `deployed.export` wrote, the words of an image's file and one batch of samples.
//
//   run_deployed NETWORK.pt2 IMAGE.safetensors SAMPLES.safetensors
//
// SAMPLES holds the float32 tensor `inputs` of the shape that the package was exported with. The
// outputs are printed, a sample in a line.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::ordered_json;

// A file of safetensors: the length of a header in JSON, the header, the tensors' bytes.
class Tensors {
 public:
  explicit Tensors(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    if (bytes_.size() >= 8) std::copy_n(bytes_.data(), 8, reinterpret_cast<char*>(&length));
    if (bytes_.size() < 8 || length > bytes_.size() - 8) {
      throw std::runtime_error(path + " cannot be read, or is no file of safetensors");
    }
    header_ = Json::parse(bytes_.begin() + 8, bytes_.begin() + 8 + static_cast<int64_t>(length));
    data_ = bytes_.data() + 8 + length;
  }

  at::Tensor get(const std::string& name, at::ScalarType dtype) {
    if (!header_.contains(name)) throw std::runtime_error(path_ + " has no tensor " + name);
    const Json& entry = header_.at(name);
    const auto shape = entry.at("shape").get<std::vector<int64_t>>();
    const auto place = entry.at("data_offsets").get<std::vector<int64_t>>();
    const at::Tensor found = torch::empty(shape, dtype);
    if (place.at(0) < 0 || place.at(1) - place.at(0) != static_cast<int64_t>(found.nbytes()) ||
        place.at(1) > bytes_.data() + bytes_.size() - data_) {
      throw std::runtime_error(path_ + ": the bytes of " + name + " are not those of its shape");
    }
    std::copy_n(data_ + place.at(0), found.nbytes(), static_cast<char*>(found.data_ptr()));
    return found;
  }

 private:
  std::string path_;
  std::vector<char> bytes_;
  Json header_;
  const char* data_ = nullptr;
};

void run(const std::string& network, const std::string& image, const std::string& samples) {
  torch::inductor::AOTIModelPackageLoader package(network);
  const Json of = Json::parse(package.get_metadata().at("eden"));
  if (of.at("format") != "eden-deployed" || of.at("version") != 1) {
    throw std::runtime_error(network + " is no deployed network of version 1");
  }
  Tensors memory(image);
  std::vector<at::Tensor> words;
  for (const auto& [name, bytes] : of.at("operands").items()) {
    words.push_back(memory.get(name, torch::kByte));
    if (words.back().numel() != bytes.get<int64_t>()) {
      throw std::runtime_error(image + ": " + name + " is of another network than " + network);
    }
  }
  const at::Tensor inputs = Tensors(samples).get("inputs", torch::kFloat);
  if (inputs.sizes().vec() != of.at("input_shape").get<std::vector<int64_t>>()) {
    throw std::runtime_error(samples + ": inputs are of another shape than " + network + " takes");
  }
  const at::Tensor outputs = package.run({inputs, torch::cat(words)}).at(0).flatten(1);
  for (int64_t sample = 0; sample < outputs.size(0); ++sample) {
    for (int64_t i = 0; i < outputs.size(1); ++i) {
      std::cout << (i == 0 ? "" : " ") << outputs[sample][i].item<float>();
    }
    std::cout << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: run_deployed NETWORK.pt2 IMAGE.safetensors SAMPLES.safetensors\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "run_deployed: " << error.what() << '\n';
    return 1;
  }
}
