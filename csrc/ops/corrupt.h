// What the launchers of every device share: checked arguments, the shape of a load, and the choice
// of a codec.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "core/load.h"
#include "core/storage.h"

namespace eden::ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct CorruptArguments {
  Tensor region, chip, access;
  std::optional<Tensor> scale, bounds;
  Storage storage;
  int64_t batch_dim;
};

inline void check_field(const Tensor& tensor, const char* name, ScalarType dtype, int64_t numel,
                        const Tensor& x) {
  STD_TORCH_CHECK(
      tensor.scalar_type() == dtype && tensor.numel() == numel && tensor.is_contiguous(),
      "eden::corrupt: ", name, " must be contiguous, of ", numel,
      " elements and of its fixed dtype; it has ", tensor.numel(), " elements");
  STD_TORCH_CHECK(tensor.device() == x.device(), "eden::corrupt: ", name,
                  " is on another device than x");
}

inline CorruptArguments check_arguments(const Tensor& x, const Tensor& region, const Tensor& chip,
                                        const Tensor& access, std::optional<Tensor> scale,
                                        std::optional<Tensor> bounds, int64_t storage,
                                        int64_t batch_dim) {
  STD_TORCH_CHECK(storage == static_cast<int64_t>(Storage::kFloat32) ||
                      storage == static_cast<int64_t>(Storage::kInt8),
                  "eden::corrupt: storage is ", storage, ", which names no storage");
  check_field(region, "region", ScalarType::Long, kRegionFields, x);
  check_field(chip, "chip", ScalarType::Long, 1, x);
  check_field(access, "access", ScalarType::Long, 1, x);
  if (scale) check_field(*scale, "scale", ScalarType::Float, 1, x);
  if (bounds) check_field(*bounds, "bounds", ScalarType::Float, 2, x);
  STD_TORCH_CHECK(batch_dim >= -1 && batch_dim < std::max<int64_t>(x.dim(), 1),
                  "eden::corrupt: batch_dim is ", batch_dim, ", x has ", x.dim(), " dimensions");
  return {
      region,   chip, access, std::move(scale), std::move(bounds), static_cast<Storage>(storage),
      batch_dim};
}

inline LoadShape load_shape(const Tensor& x, int64_t batch_dim) {
  LoadShape shape;
  if (batch_dim < 0 || x.dim() == 0) {
    shape.inner = x.numel();
    return shape;
  }
  for (int64_t d = 0; d < x.dim(); ++d) {
    (d < batch_dim ? shape.outer : d == batch_dim ? shape.batch : shape.inner) *= x.size(d);
  }
  return shape;
}

// Calls run.template operator()<Codec>() for the codec of x's dtype in a storage.
template <class Run>
void with_codec(const Tensor& x, const CorruptArguments& arguments, Run&& run) {
  if (x.scalar_type() == ScalarType::Float && arguments.storage == Storage::kFloat32) {
    run.template operator()<Float32Codec>();
  } else if (x.scalar_type() == ScalarType::Char && arguments.storage == Storage::kInt8) {
    run.template operator()<Int8Codec>();
  } else if (x.scalar_type() == ScalarType::Float && arguments.storage == Storage::kInt8) {
    STD_TORCH_CHECK(arguments.scale.has_value(),
                    "eden::corrupt: scale is missing; int8 storage of float32 needs one");
    run.template operator()<QuantizedInt8Codec>();
  } else {
    STD_TORCH_CHECK(false,
                    "eden::corrupt: x has a dtype that this storage cannot hold; allowed are "
                    "float32 in float32, "
                    "float32 in int8 and int8 in int8");
  }
}

// The dense, row-major copy of a tensor that a launcher works on (the tensor itself where it is one
// already).
inline Tensor dense(const Tensor& x) {
  return x.is_contiguous() ? x : torch::stable::contiguous(x);
}

// The operators of one device, from its launcher, which works on dense tensors, and from what makes
// an uninitialized tensor as torch.empty_like does.
template <void (*Launch)(const Tensor& x, const CorruptArguments& arguments, Tensor& out),
          Tensor (*EmptyLike)(const Tensor& x)>
struct CorruptOperators {
  static Tensor corrupt(Tensor x, Tensor region, Tensor chip, Tensor access,
                        std::optional<Tensor> scale, std::optional<Tensor> bounds, int64_t storage,
                        int64_t batch_dim) {
    return run(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim));
  }

  static void corrupt_out(Tensor x, Tensor region, Tensor chip, Tensor access,
                          std::optional<Tensor> scale, std::optional<Tensor> bounds,
                          int64_t storage, int64_t batch_dim, Tensor out) {
    run_into(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim), out);
  }

  static void corrupt_in_place(Tensor x, Tensor region, Tensor chip, Tensor access,
                               std::optional<Tensor> scale, std::optional<Tensor> bounds,
                               int64_t storage, int64_t batch_dim) {
    run_into(x, check_arguments(x, region, chip, access, scale, bounds, storage, batch_dim), x);
  }

 private:
  static Tensor run(const Tensor& x, const CorruptArguments& arguments) {
    Tensor out = EmptyLike(x);
    run_into(x, arguments, out);
    return out;
  }

  static void run_into(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
    STD_TORCH_CHECK(out.scalar_type() == x.scalar_type() && out.sizes() == x.sizes() &&
                        out.device() == x.device(),
                    "eden::corrupt: out must have the shape, dtype and device of x");
    if (out.is_contiguous()) {
      Launch(dense(x), arguments, out);
    } else {
      const Tensor source = dense(x);
      Tensor result = EmptyLike(source);
      Launch(source, arguments, result);
      torch::stable::copy_(out, result);
    }
  }
};

}  // namespace eden::ops

// Registers a device's launcher for every operator of the schema.
#define EDEN_IMPLEMENT_CORRUPT(dispatch_key, launch, empty_like)       \
  STABLE_TORCH_LIBRARY_IMPL(eden, dispatch_key, m) {                   \
    using Operators = eden::ops::CorruptOperators<launch, empty_like>; \
    m.impl("corrupt", TORCH_BOX(&Operators::corrupt));                 \
    m.impl("corrupt_", TORCH_BOX(&Operators::corrupt_in_place));       \
    m.impl("corrupt_out", TORCH_BOX(&Operators::corrupt_out));         \
  }
