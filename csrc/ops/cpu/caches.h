// What the CPU operators keep from one call to the next.
#pragma once

#include <cstddef>

#include "memory/corrupt/kept_flips.h"

namespace eden::ops {

// Bytes that results' memory may take while it lies idle. All that is kept stays within
// EDEN_CACHE_BYTES, an environment variable, read once; 2^30 unless given.
std::size_t output_capacity();

// The weak cells of loads, a thirty-second of it.
FlipCache& flip_cache();

}  // namespace eden::ops
