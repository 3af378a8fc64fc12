// DRAM accesses of a network's layers behind a cache, from the order in which they use operands.
#pragma once

#include <cstdint>
#include <vector>

namespace eden {

// One operand as a cache sees it.
struct CachedOperand {
  std::int64_t bytes;
  bool kept;  // a weight, which is in the DRAM before and after; a feature map is written and,
              // after the last layer that reads it, given up without being written back
};

// What one layer uses, by index into the operands.
struct CachedLayer {
  std::vector<std::int64_t> reads;
  std::vector<std::int64_t> writes;
};

struct CacheBytes {
  std::vector<double> read;     // bytes by operand
  std::vector<double> written;  // bytes by operand
};

// Bytes that cross between the DRAM and a fully associative cache with least-recently-used
// replacement and write-back, in the last of a number of equal inferences, the cache empty before
// the first. A layer keeps the smallest operand that it reads in the cache, in parts of at most
// half of the cache, and goes once through all others for each part; what it writes is written in
// step with them, without being read first. Throws std::invalid_argument for a size or an index out
// of range.
CacheBytes cache_traffic(const std::vector<CachedOperand>& operands,
                         const std::vector<CachedLayer>& layers, std::int64_t capacity_bytes,
                         std::int64_t inferences);

}  // namespace eden
