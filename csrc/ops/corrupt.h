// What the launchers of every device share: checked arguments, the shape of a load, and the choice
// of a codec.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "memory/corrupt/load.h"
#include "memory/storage/storage.h"

namespace eden::ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct CorruptArguments {
  Tensor region;
  std::optional<Tensor> table;
  Tensor chip, access;
  std::optional<Tensor> scale, zero_point, bounds;
  Storage storage;
  ValueType value;
  LoadShape shape;
  int64_t channels;
  int64_t channel_inner;

  int64_t regions() const { return region.numel() / kRegionFields; }
  // What the rows say is known to the host alone where it has them: so their shape says it, too.
  bool in_planes() const { return region.dim() == 3; }
  int64_t table_size() const { return table ? table->numel() : 0; }
};

inline ValueType value_type(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return ValueType::kFloat32;
    case ScalarType::Half:
      return ValueType::kFloat16;
    case ScalarType::BFloat16:
      return ValueType::kBFloat16;
    case ScalarType::Float8_e4m3fn:
      return ValueType::kFloat8E4M3;
    case ScalarType::Float8_e5m2:
      return ValueType::kFloat8E5M2;
    case ScalarType::Char:
      return ValueType::kInt8;
    case ScalarType::Byte:
      return ValueType::kUint8;
    case ScalarType::Short:
      return ValueType::kInt16;
    case ScalarType::Int:
      return ValueType::kInt32;
    default:
      STD_TORCH_CHECK(
          false,
          "eden::corrupt: x has a dtype that no storage holds; allowed are float32, "
          "float16, bfloat16, float8_e4m3fn, float8_e5m2, int8, uint8, int16 and int32");
  }
}

inline void check_defined(const Tensor& tensor, const char* name) {
  STD_TORCH_CHECK(tensor.defined(), "eden::corrupt: ", name, " is None; allowed is a tensor");
}

inline bool is_float(ValueType value) {
  return value == ValueType::kFloat32 || value == ValueType::kFloat16 ||
         value == ValueType::kBFloat16;
}

inline void check_tensor(const Tensor& tensor, const char* name, ScalarType dtype,
                         const Tensor& x) {
  check_defined(tensor, name);
  STD_TORCH_CHECK(tensor.scalar_type() == dtype && tensor.is_contiguous(), "eden::corrupt: ", name,
                  " must be contiguous and of its fixed dtype");
  STD_TORCH_CHECK(tensor.device() == x.device(), "eden::corrupt: ", name,
                  " is on another device than x");
}

inline void check_field(const Tensor& tensor, const char* name, ScalarType dtype, int64_t numel,
                        const Tensor& x) {
  check_tensor(tensor, name, dtype, x);
  STD_TORCH_CHECK(tensor.numel() == numel, "eden::corrupt: ", name, " has ", tensor.numel(),
                  " elements; allowed is ", numel);
}

inline LoadShape load_shape(const Tensor& x, int64_t batch_dim);

// `measured` says that a scale is found from x.
inline CorruptArguments check_arguments(const Tensor& x, const Tensor& region,
                                        std::optional<Tensor> table, const Tensor& chip,
                                        const Tensor& access, std::optional<Tensor> scale,
                                        std::optional<Tensor> zero_point,
                                        std::optional<Tensor> bounds, int64_t storage,
                                        int64_t channel_dim, int64_t batch_dim,
                                        bool measured = false) {
  check_defined(x, "x");
  const ValueType value = value_type(x);
  const auto form = static_cast<Storage>(storage);
  STD_TORCH_CHECK(storage_bits(form) != 0, "eden::corrupt: storage is ", storage,
                  ", which names no storage");
  STD_TORCH_CHECK(
      can_store(value, form),
      "eden::corrupt: x has a dtype that this storage cannot hold; allowed are float32, "
      "float16 and bfloat16 in every storage but int32, and every dtype in its own");
  check_tensor(region, "region", ScalarType::Long, x);
  STD_TORCH_CHECK(region.numel() >= kRegionFields && region.numel() % kRegionFields == 0,
                  "eden::corrupt: region has ", region.numel(), " elements; allowed are rows of ",
                  static_cast<int>(kRegionFields));
  if (table) check_tensor(*table, "table", ScalarType::Long, x);
  check_field(chip, "chip", ScalarType::Long, 1, x);
  check_field(access, "access", ScalarType::Long, 1, x);
  STD_TORCH_CHECK(batch_dim >= -1 && batch_dim < std::max<int64_t>(x.dim(), 1),
                  "eden::corrupt: batch_dim is ", batch_dim, ", x has ", x.dim(), " dimensions");
  STD_TORCH_CHECK(channel_dim >= -1 && channel_dim < std::max<int64_t>(x.dim(), 1) &&
                      (channel_dim < 0 || channel_dim != batch_dim),
                  "eden::corrupt: channel_dim is ", channel_dim, ", x has ", x.dim(),
                  " dimensions and batch_dim is ", batch_dim);
  int64_t channels = 1, channel_inner = 1;
  if (channel_dim >= 0 && x.dim() > 0) {
    channels = x.size(channel_dim);
    for (int64_t d = channel_dim + 1; d < x.dim(); ++d) {
      if (d != batch_dim) channel_inner *= x.size(d);
    }
  }
  const bool converts = form != own_storage(value);
  if (scale) check_field(*scale, "scale", ScalarType::Float, channels, x);
  STD_TORCH_CHECK(!converts || !is_quantized(form) || scale.has_value() || measured,
                  "eden::corrupt: scale is missing; an integer storage of floating-point values "
                  "needs one");
  if (zero_point) {
    STD_TORCH_CHECK(scale.has_value(), "eden::corrupt: zero_point was given without scale");
    STD_TORCH_CHECK(can_have_zero_point(form) || !is_quantized(form),
                    "eden::corrupt: zero_point was given; allowed for codes of a sign and a "
                    "magnitude is none");
    check_field(*zero_point, "zero_point", ScalarType::Int, channels, x);
  }
  if (bounds) check_field(*bounds, "bounds", ScalarType::Float, 2, x);
  return {region,
          std::move(table),
          chip,
          access,
          std::move(scale),
          std::move(zero_point),
          std::move(bounds),
          form,
          value,
          load_shape(x, batch_dim),
          scale ? channels : 1,
          channel_inner};
}

// Whether what is read with its own measured range is kept as codes. Throws for what is not
// measured.
inline bool is_coded(const CorruptArguments& arguments) {
  STD_TORCH_CHECK(
      is_float(arguments.value) && arguments.storage != Storage::kSign,
      "eden::corrupt_measured: allowed are float32, float16 and bfloat16 x in a storage "
      "other than sign");
  return is_quantized(arguments.storage) && arguments.storage != own_storage(arguments.value);
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

// The dense, row-major copy of a tensor that a launcher works on (the tensor itself where it is one
// already).
inline Tensor dense(const Tensor& x) {
  return x.is_contiguous() ? x : torch::stable::contiguous(x);
}

inline bool is_expanded(const Tensor& x) {
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (x.stride(d) == 0 && x.size(d) > 1) return true;
  }
  return false;
}

// The bytes that a tensor's elements lie among: [first, end).
struct Span {
  uintptr_t first = 0, end = 0;

  explicit Span(const Tensor& tensor) {
    if (tensor.numel() == 0) return;
    uintptr_t reach = 1;
    for (int64_t d = 0; d < tensor.dim(); ++d) {
      reach += static_cast<uintptr_t>((tensor.size(d) - 1) * tensor.stride(d));
    }
    first = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
    end = first + reach * tensor.element_size();
  }
  bool overlaps(const Span& other) const { return first < other.end && other.first < end; }
};

// Whether x may be read while `out` is written, each where it lies.
inline bool lie_apart(const Tensor& x, const Tensor& out) {
  const bool same = x.const_data_ptr() == out.const_data_ptr() && x.strides().equals(out.strides());
  return same || !Span(x).overlaps(Span(out));
}

// What is read while `out` is written must not lie in it, but for x itself, element for element.
// Where one of both is not row-major and they share memory, there are copies of x or of out.
inline void check_apart(const Tensor& x, const CorruptArguments& arguments, const Tensor& out) {
  check_defined(out, "out");
  const Span written(out);
  if (x.is_contiguous() && out.is_contiguous()) {
    STD_TORCH_CHECK(x.const_data_ptr() == out.const_data_ptr() || !Span(x).overlaps(written),
                    "eden::corrupt: out shares a part of its memory with x; allowed is x itself, "
                    "or memory of its own");
  }
  const auto check = [&](const std::optional<Tensor>& read, const char* name) {
    STD_TORCH_CHECK(!read || !Span(*read).overlaps(written),
                    "eden::corrupt: what is to be written "
                    "shares memory with ",
                    name, "; allowed is memory of its own");
  };
  check(arguments.region, "region");
  check(arguments.table, "table");
  check(arguments.chip, "chip");
  check(arguments.access, "access");
  check(arguments.scale, "scale");
  check(arguments.zero_point, "zero_point");
  check(arguments.bounds, "bounds");
}

// Calls launch(x, out) with the tensors where they lie or, where it would not take these, with
// dense copies. takes(tensor, written) says whether it takes one that is not row-major.
template <Tensor (*EmptyLike)(const Tensor& x), class Takes, class Launch>
void launch_where_they_lie(const Tensor& x, Tensor& out, Takes&& takes, Launch&& launch) {
  if (x.is_contiguous() && out.is_contiguous()) return launch(x, out);
  const Tensor source = x.is_contiguous() || (takes(x, false) && lie_apart(x, out))
                            ? x
                            : torch::stable::contiguous(x);
  if (out.is_contiguous() || (takes(out, true) && lie_apart(source, out))) {
    return launch(source, out);
  }
  STD_TORCH_CHECK(!is_expanded(out),
                  "eden::corrupt: what is to be written has elements that share memory, as an "
                  "expanded tensor has");
  const Tensor read = dense(source);
  Tensor result = EmptyLike(read);
  launch(read, result);
  torch::stable::copy_(out, result);
}

// For a launcher that takes dense tensors alone.
inline bool takes_dense(const Tensor&, const CorruptArguments&, bool) { return false; }

// The operators of one device, from its launcher, from what makes an uninitialized tensor as
// torch.empty_like does, and from what says whether the launcher takes a tensor that is not
// row-major, to be read or to be written.
template <void (*Launch)(const Tensor& x, const CorruptArguments& arguments, Tensor& out),
          Tensor (*EmptyLike)(const Tensor& x),
          bool (*Takes)(const Tensor& tensor, const CorruptArguments& arguments, bool written) =
              takes_dense>
struct CorruptOperators {
  static Tensor corrupt(Tensor x, Tensor region, std::optional<Tensor> table, Tensor chip,
                        Tensor access, std::optional<Tensor> scale,
                        std::optional<Tensor> zero_point, std::optional<Tensor> bounds,
                        int64_t storage, int64_t channel_dim, int64_t batch_dim) {
    return run(x, check_arguments(x, region, table, chip, access, scale, zero_point, bounds,
                                  storage, channel_dim, batch_dim));
  }

  static void corrupt_out(Tensor x, Tensor region, std::optional<Tensor> table, Tensor chip,
                          Tensor access, std::optional<Tensor> scale,
                          std::optional<Tensor> zero_point, std::optional<Tensor> bounds,
                          int64_t storage, int64_t channel_dim, int64_t batch_dim, Tensor out) {
    write(x,
          check_arguments(x, region, table, chip, access, scale, zero_point, bounds, storage,
                          channel_dim, batch_dim),
          out);
  }

  static void corrupt_in_place(Tensor x, Tensor region, std::optional<Tensor> table, Tensor chip,
                               Tensor access, std::optional<Tensor> scale,
                               std::optional<Tensor> zero_point, std::optional<Tensor> bounds,
                               int64_t storage, int64_t channel_dim, int64_t batch_dim) {
    write(x,
          check_arguments(x, region, table, chip, access, scale, zero_point, bounds, storage,
                          channel_dim, batch_dim),
          x);
  }

 private:
  static Tensor run(const Tensor& x, const CorruptArguments& arguments) {
    Tensor out = EmptyLike(x);
    run_into(x, arguments, out);
    return out;
  }

  static void write(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
    check_apart(x, arguments, out);
    run_into(x, arguments, out);
  }

  static void run_into(const Tensor& x, const CorruptArguments& arguments, Tensor& out) {
    STD_TORCH_CHECK(out.scalar_type() == x.scalar_type() && out.sizes().equals(x.sizes()) &&
                        out.device() == x.device(),
                    "eden::corrupt: out must have the shape, dtype and device of x");
    launch_where_they_lie<EmptyLike>(
        x, out,
        [&](const Tensor& tensor, bool written) { return Takes(tensor, arguments, written); },
        [&](const Tensor& source, Tensor& result) { Launch(source, arguments, result); });
  }
};

}  // namespace eden::ops

// Registers a device's launcher, and what further CorruptOperators takes, for every operator of the
// schema.
#define EDEN_IMPLEMENT_CORRUPT(dispatch_key, ...)                \
  STABLE_TORCH_LIBRARY_IMPL(eden, dispatch_key, m) {             \
    using Operators = eden::ops::CorruptOperators<__VA_ARGS__>;  \
    m.impl("corrupt", TORCH_BOX(&Operators::corrupt));           \
    m.impl("corrupt_", TORCH_BOX(&Operators::corrupt_in_place)); \
    m.impl("corrupt_out", TORCH_BOX(&Operators::corrupt_out));   \
  }
