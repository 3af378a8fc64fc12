// Runs a package of AOTInductor that holds EDEN's operators, without Python:
//   run_package OPERATORS.so PACKAGE.pt2 ROWS COLUMNS < NUMBERS
// NUMBERS are whole numbers: the bits of x [ROWS, COLUMNS], the region, the chip, the access. What
// is read is printed in the same form as x.
#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

at::Tensor read_line(at::ScalarType dtype) {
  std::string line;
  std::getline(std::cin, line);
  std::istringstream numbers(line);
  std::vector<int64_t> values;
  for (int64_t value = 0; numbers >> value;) values.push_back(value);
  return at::tensor(values, at::kLong).to(dtype);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  if (dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    std::cerr << dlerror() << '\n';
    return 1;
  }
  const int64_t rows = std::atoll(argv[3]), columns = std::atoll(argv[4]);
  torch::inductor::AOTIModelPackageLoader package(argv[2]);
  std::vector<at::Tensor> inputs;
  inputs.push_back(read_line(at::kInt).view(at::kFloat).view({rows, columns}));
  inputs.push_back(read_line(at::kLong));
  for (int scalar = 0; scalar < 2; ++scalar) inputs.push_back(read_line(at::kLong).squeeze());
  const at::Tensor bits = package.run(inputs).at(0).contiguous().view(at::kInt).flatten();
  for (int64_t i = 0; i < bits.numel(); ++i) std::cout << bits[i].item<int>() << '\n';
}
