// Does the generator give the known answers of its authors' reference implementation (Random123,
// kat_vectors)?
#include "base/philox.h"
#include "catch2.h"

namespace {

void check(eden::PhiloxWords counter, uint64_t key, eden::PhiloxWords expected) {
  const eden::PhiloxWords words = eden::philox4x32_10(counter, key);
  for (int i = 0; i < 4; ++i) CHECK(words.word[i] == expected.word[i]);
}

}  // namespace

TEST_CASE("Philox4x32-10 known answers") {
  check({{0, 0, 0, 0}}, 0, {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}});
  check({{~0u, ~0u, ~0u, ~0u}}, ~uint64_t{0},
        {{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}});
  check({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, 0x299f31d0a4093822u,
        {{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}});
}
