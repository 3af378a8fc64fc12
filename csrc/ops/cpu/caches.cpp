#include "ops/cpu/caches.h"

#include <torch/csrc/stable/library.h>
#include <torch/headeronly/util/Exception.h>

#include <cerrno>
#include <cstdlib>

#include "ops/cpu/output_pool.h"

namespace eden::ops {
namespace {

constexpr std::size_t kDefaultCapacity = std::size_t{1} << 30;

std::size_t capacity_from_environment() {
  const char* text = std::getenv("EDEN_CACHE_BYTES");
  if (text == nullptr) return kDefaultCapacity;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &end, 10);
  const bool number = *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
  STD_TORCH_CHECK(number, "EDEN_CACHE_BYTES is '", text,
                  "'; allowed is a whole number of bytes, 0 or more");
  return static_cast<std::size_t>(value);
}

std::size_t cache_capacity() {
  static const std::size_t capacity = capacity_from_environment();
  return capacity;
}

// Lists of weak cells are short beside what they are applied to.
std::size_t flip_capacity() { return cache_capacity() / 32; }

int64_t cached_bytes() {
  return static_cast<int64_t>(output_pool().idle_bytes() + flip_cache().bytes());
}

void empty_cache() {
  output_pool().clear();
  flip_cache().clear();
}

}  // namespace

std::size_t output_capacity() { return cache_capacity() - flip_capacity(); }

FlipCache& flip_cache() {
  // Never destroyed, like the pool.
  static FlipCache& cache = *new FlipCache(flip_capacity());
  return cache;
}

}  // namespace eden::ops

// Neither takes a tensor that could choose a device.
STABLE_TORCH_LIBRARY_IMPL(eden, CompositeExplicitAutograd, m) {
  m.impl("cached_bytes", TORCH_BOX(&eden::ops::cached_bytes));
  m.impl("empty_cache", TORCH_BOX(&eden::ops::empty_cache));
}
