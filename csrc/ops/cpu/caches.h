// What the CPU operators keep from one call to the next.
#pragma once

#include <cstddef>

#include "core/kept_flips.h"

namespace eden::ops {

// Bytes that results' memory may take while it lies idle: EDEN_CACHE_BYTES, an environment
// variable, read once; 2^30 unless given.
std::size_t cache_capacity();

// The weak cells of loads; at most a quarter of as many bytes.
FlipCache& flip_cache();

}  // namespace eden::ops
