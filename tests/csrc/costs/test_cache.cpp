// Do the bytes that cross behind a cache follow its size and the order of the layers?
#include <stdexcept>
#include <vector>

#include "catch2.h"
#include "costs/cache.h"

using eden::CachedLayer;
using eden::CachedOperand;

TEST_CASE("traffic: errors of a cache name the figure") {
  CHECK_THROWS_AS(eden::cache_traffic({{10, true}}, {{{1}, {}}}, 1024, 1), std::invalid_argument);
  CHECK_THROWS_AS(eden::cache_traffic({{0, true}}, {{{0}, {}}}, 1024, 1), std::invalid_argument);
  CHECK_THROWS_AS(eden::cache_traffic({{10, true}}, {{{0}, {}}}, 1024, 0), std::invalid_argument);
}

TEST_CASE("traffic: a network that fits in the cache moves its weights once") {
  // Two layers: image and first weight to a map, map and second weight to nothing.
  const std::vector<CachedOperand> operands{
      {5000, false}, {8000, true}, {3000, false}, {900, true}};
  const std::vector<CachedLayer> layers{{{}, {0}}, {{0, 1}, {2}}, {{2, 3}, {}}};
  const eden::CacheBytes first = eden::cache_traffic(operands, layers, 65536, 1);
  CHECK(first.read == std::vector<double>{0, 8000, 0, 900});
  CHECK(first.written == std::vector<double>{0, 0, 0, 0});
  const eden::CacheBytes again = eden::cache_traffic(operands, layers, 65536, 2);
  CHECK(again.read == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("traffic: a map far above the cache is written and read whole, weights each time") {
  const std::vector<CachedOperand> operands{{1 << 20, false}, {6400, true}, {1 << 20, false}};
  const std::vector<CachedLayer> layers{{{}, {0}}, {{0, 1}, {2}}, {{2, 1}, {}}};
  const eden::CacheBytes bytes = eden::cache_traffic(operands, layers, 32768, 2);
  for (const int map : {0, 2}) {
    CHECK(bytes.read[map] > 0.95 * (1 << 20));
    CHECK(bytes.read[map] <= (1 << 20));
    CHECK(bytes.written[map] > 0.95 * (1 << 20));
    CHECK(bytes.written[map] <= (1 << 20));
  }
  CHECK(bytes.read[1] <= 6400);
}

TEST_CASE("traffic: two operands above the cache are blocked") {
  // The smaller in 4 parts of half of the cache; the larger is read for each of them.
  const std::vector<CachedOperand> operands{{65536, true}, {1 << 20, true}};
  const eden::CacheBytes bytes = eden::cache_traffic(operands, {{{0, 1}, {}}}, 32768, 1);
  CHECK(bytes.read == std::vector<double>{65536, 4.0 * (1 << 20)});
}
