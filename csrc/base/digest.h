// A digest of 128 bits by which contents are told apart that nobody chooses to look alike, about as
// fast as they are read: products of 64 by 64 bits whose halves are folded, as in wyhash (Wang Yi).
// Two halves with keys of their own: two contents of n words have one digest with a chance of about
// (n / 2^64)^2. It lives within a process: no file holds one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace eden {

struct Digest {
  uint64_t low = 0, high = 0;
  bool operator==(const Digest&) const = default;
};

class Digester {
 public:
  // A part of the content, which is not the same as its words in other parts.
  void add(const int64_t* words, size_t count) {
    size_t at = 0;
    // Two strands, because a product waits for the one before it.
    for (; at + 4 <= count; at += 4) {
      take(strands_[0], words[at], words[at + 1]);
      take(strands_[1], words[at + 2], words[at + 3]);
    }
    for (; at < count; at += 2) take(strands_[0], words[at], at + 1 < count ? words[at + 1] : 0);
    take(strands_[1], static_cast<int64_t>(count), 0);
  }

  Digest digest() const {
    return {fold(strands_[0].low ^ kKeys[0], strands_[1].low ^ kKeys[2]),
            fold(strands_[0].high ^ kKeys[1], strands_[1].high ^ kKeys[3])};
  }

 private:
  __extension__ using Product = unsigned __int128;
  // Of the digits of pi.
  static constexpr std::array<uint64_t, 4> kKeys = {0x243f6a8885a308d3u, 0x13198a2e03707344u,
                                                    0xa4093822299f31d0u, 0x082efa98ec4e6c89u};

  static uint64_t fold(uint64_t a, uint64_t b) {
    const Product product = static_cast<Product>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  static void take(Digest& strand, int64_t first, int64_t second) {
    const auto a = static_cast<uint64_t>(first), b = static_cast<uint64_t>(second);
    strand.low = fold(a ^ strand.low ^ kKeys[0], b ^ kKeys[1]);
    strand.high = fold(a ^ kKeys[2], b ^ strand.high ^ kKeys[3]);
  }

  // Of other digits: a factor of 0 would forget what it is multiplied by.
  std::array<Digest, 2> strands_ = {Digest{0x452821e638d01377u, 0xbe5466cf34e90c6cu},
                                    Digest{0xc0ac29b7c97c50ddu, 0x3f84d5b5b5470917u}};
};

}  // namespace eden
