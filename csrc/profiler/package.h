// A network that `eden export` has written: compiled code whose operands' rates, chip and access
// numbers are inputs, and the metadata that says what they are.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memory/region.h"
#include "profiler/error_model.h"

namespace eden::profiler {

struct Operand {
  std::string name;
  std::string kind;  // "weight" or "input"
  int64_t bytes = 0;
  double moved_bytes = 0.0;  // by an inference, between processor and DRAM
  std::string storage;
  uint64_t address = 0;
  Correction correction = Correction::kNone;
  std::optional<ErrorModel> errors;  // none of an operand that stays reliable
  int64_t table_first = 0;           // of its lines, where it has some
  uint32_t plane = 0;  // mask of the bits of its words that it holds; 0 for whole words
};

class Package {
 public:
  // Loads the file, whose code runs in this process, on the device that it was compiled for; for a
  // GPU also EDEN's operators for one, which are looked for where they are usually if the path is
  // empty. Throws FileError if it cannot be loaded, has not been written by EDEN, or by another
  // version, or if what its device needs is missing; nothing of it has run then.
  Package(std::string path, const std::string& cuda_operators);

  const std::vector<Operand>& operands() const { return operands_; }
  const std::string& digest() const { return digest_; }
  // Of the network in it; empty where the package does not say.
  const std::string& network() const { return network_; }

  // Throws FileError, naming `path` as what holds them, for samples that it does not take.
  void check_samples(const at::Tensor& inputs, const std::string& path) const;

  // The outputs (N, classes) for samples (N, ...), on a chip, with the operands that have errors at
  // these mean bit error rates, in their order; on reliable memory without correction where there
  // are none. Calls `between_runs` before every run of the compiled code.
  at::Tensor run(const at::Tensor& inputs, const std::vector<double>& rates, uint64_t chip,
                 const std::function<void()>& between_runs);

 private:
  void read_metadata(const std::string& text);
  void set_rates(const std::vector<double>& rates);

  std::string path_;
  std::string digest_, network_;
  at::Device device_ = at::kCPU;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader_;
  std::vector<int64_t> input_shape_;  // the first number counts samples
  std::string input_dtype_;
  std::vector<Operand> operands_;
  at::Tensor reliable_, regions_, table_;  // on the host; the last two at rates_
  std::vector<double> rates_;
};

}  // namespace eden::profiler
