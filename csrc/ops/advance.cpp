// The number of the next access.
//
// An operator of its own because AOTInductor, up to torch 2.13 at least, takes a one-element buffer
// for a constant even where the graph writes it, and would store the same sum at every call; into
// an operator that writes its argument it does not look.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>

namespace eden::ops {
namespace {

using torch::stable::Tensor;

void call_in_place(const char* name, const Tensor& tensor) {
  std::array<StableIValue, 1> stack{torch::stable::detail::from(tensor)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  // Takes over the reference that was returned.
  torch::stable::detail::to<Tensor>(stack[0]);
}

void advance(Tensor access) {
  STD_TORCH_CHECK(access.scalar_type() == torch::headeronly::ScalarType::Long,
                  "eden::advance_: access must be an int64 tensor");
  // -(~n) is n + 1: an addition takes a Scalar, which the Stable ABI does not have.
  call_in_place("aten::bitwise_not_", access);
  call_in_place("aten::neg_", access);
}

// In memory that the host can write, without a call of another operator: a layer advances its
// access number at every read.
void advance_on_host(Tensor access) {
  if (!access.is_contiguous()) return advance(access);
  STD_TORCH_CHECK(access.scalar_type() == torch::headeronly::ScalarType::Long,
                  "eden::advance_: access must be an int64 tensor");
  // Unsigned, because the largest number is followed by the smallest.
  auto* numbers = static_cast<uint64_t*>(access.mutable_data_ptr());
  for (int64_t i = 0; i < access.numel(); ++i) ++numbers[i];
}

}  // namespace
}  // namespace eden::ops

STABLE_TORCH_LIBRARY_IMPL(eden, CompositeExplicitAutograd, m) {
  m.impl("advance_", TORCH_BOX(&eden::ops::advance));
}

STABLE_TORCH_LIBRARY_IMPL(eden, CPU, m) {
  m.impl("advance_", TORCH_BOX(&eden::ops::advance_on_host));
}
