// Do contents that differ in a bit, a place, a length or where a part ends have other digests?
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "catch2.h"

namespace {

using eden::Digester;

class Seen {
 public:
  bool fresh(const std::vector<int64_t>& content) {
    Digester digester;
    digester.add(content.data(), content.size());
    return fresh(digester);
  }
  // By either half alone: each is to tell contents apart.
  bool fresh(const Digester& digester) {
    const eden::Digest digest = digester.digest();
    const bool low = low_.insert(digest.low).second;
    return high_.insert(digest.high).second && low;
  }

 private:
  std::set<uint64_t> low_, high_;
};

}  // namespace

TEST_CASE("contents that differ have other digests") {
  Seen seen;
  std::vector<std::vector<int64_t>> contents = {
      {}, {0}, {0, 0}, {0, 0, 0}, std::vector<int64_t>(64)};
  std::vector<int64_t> counted(37);
  for (size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<int64_t>(i);
  contents.push_back(counted);
  for (const auto& content : contents) {
    REQUIRE(seen.fresh(content));
    for (size_t word = 0; word < content.size(); ++word) {
      for (int bit = 0; bit < 64; ++bit) {
        auto other = content;
        other[word] ^= static_cast<int64_t>(uint64_t{1} << bit);
        REQUIRE(seen.fresh(other));
      }
    }
  }
  for (size_t first = 1; first < counted.size(); ++first) {
    auto other = counted;
    std::swap(other[first - 1], other[first]);
    REQUIRE(seen.fresh(other));
  }
  Digester parts;
  parts.add(counted.data(), 5);
  parts.add(counted.data() + 5, counted.size() - 5);
  REQUIRE(seen.fresh(parts));
  REQUIRE_FALSE(seen.fresh(counted));
}
