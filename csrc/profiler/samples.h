// Samples in safetensors: a JSON header, behind its length in eight bytes, then the tensors' bytes.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace eden::profiler {

struct Samples {
  at::Tensor inputs;   // (N, ...)
  at::Tensor targets;  // (N,), int64: the class of each sample
  std::string digest;  // SHA-256 of both, as eden.faults.digests.SamplesDigest has it
};

// Reads the tensors "inputs" and "targets" of a file. Throws FileError naming the file, the tensor,
// what was found and what is allowed.
Samples read_samples(const std::string& path);

}  // namespace eden::profiler
