// Do codes correct, detect and miscorrect what their matrices say, for all of their words?
#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "catch2.h"
#include "memory/codes/bch.h"
#include "memory/codes/cep.h"
#include "memory/codes/extended_hamming.h"
#include "memory/codes/hamming.h"
#include "memory/codes/mset.h"
#include "memory/codes/secded.h"
#include "memory/codes/tripled_sign.h"

using eden::Hamming;
using eden::Secded;
using eden::TripledSign;

namespace {

// A block of SECDED as its 72 bits, checks last.
struct Block {
  uint64_t data;
  uint8_t check;

  Block with(int bit) const {
    if (bit < 64) return {data ^ (uint64_t{1} << bit), check};
    return {data, static_cast<uint8_t>(check ^ (1 << (bit - 64)))};
  }
};

int column_of(int bit) { return bit < 64 ? Secded::column(bit) : 1 << (bit - 64); }

// A decoder that searches: the one bit whose column is the sum of the columns of all bits set.
Secded::Decoded searched(const Block& block) {
  int syndrome = block.check;
  for (int bit = 0; bit < 64; ++bit) {
    if ((block.data >> bit & 1) != 0) syndrome ^= column_of(bit);
  }
  if (syndrome == 0) return {block.data, false};
  for (int bit = 0; bit < 72; ++bit) {
    if (column_of(bit) == syndrome) return {block.with(bit).data, false};
  }
  return {block.data, true};
}

Secded::Decoded decode(const Block& block) { return Secded::decode(block.data, block.check); }

bool same(const Secded::Decoded& a, const Secded::Decoded& b) {
  return a.data == b.data && a.detected == b.detected;
}

}  // namespace

TEST_CASE("the columns of SECDED are Hsiao's: odd, different, their rows balanced") {
  std::set<int> seen;
  int ones[8] = {};
  for (int bit = 0; bit < 72; ++bit) {
    CHECK(__builtin_popcount(static_cast<unsigned>(column_of(bit))) % 2 == 1);
    seen.insert(column_of(bit));
    for (int row = 0; row < 8; ++row) ones[row] += column_of(bit) >> row & 1;
  }
  CHECK(seen.size() == 72);
  for (const int row : ones) CHECK(row == 27);
}

TEST_CASE(
    "SECDED corrects every single error, detects every double one, and miscorrects as it must") {
  std::mt19937_64 random(1);
  int wrong = 0, miscorrected = 0, detected = 0;
  for (int word = 0; word < 20; ++word) {
    const uint64_t data = word == 0 ? 0 : word == 1 ? ~uint64_t{0} : random();
    const Block block{data, Secded::checks(data)};
    REQUIRE(same(decode(block), {data, false}));
    for (int a = 0; a < 72; ++a) {
      wrong += !same(decode(block.with(a)), {data, false});
      for (int b = 0; b < a; ++b) {
        const Block hit = block.with(a).with(b);
        wrong += !same(decode(hit), {hit.data, true});
      }
    }
    for (int i = 0; i < 2000; ++i) {
      Block hit = block;
      for (int n = 0; n < 3 + i % 3; ++n) hit = hit.with(static_cast<int>(random() % 72));
      const Secded::Decoded found = decode(hit);
      wrong += !same(found, searched(hit));
      miscorrected += !found.detected && found.data != data;
      detected += found.detected;
    }
  }
  CHECK(wrong == 0);
  CHECK(miscorrected > 5000);
  CHECK(detected > 5000);
}

TEST_CASE(
    "Hamming corrects every single error of every two words, and makes of two errors the third of "
    "their columns") {
  std::set<int> columns;
  for (int bit = 0; bit < 16; ++bit) columns.insert(Hamming::column(bit));
  REQUIRE(columns.size() == 16);
  REQUIRE(Hamming::column(6) == 0);
  int wrong = 0;
  for (unsigned both = 0; both < 4096; ++both) {
    const uint8_t words[2] = {static_cast<uint8_t>(both & 63), static_cast<uint8_t>(both >> 6)};
    uint8_t cells[2];
    Hamming::encode(words, 2, cells);
    const unsigned block = cells[0] | static_cast<unsigned>(cells[1]) << 8;
    wrong += (block & 4095) != both;
    const auto read = [](unsigned of_block) {
      const uint8_t hit[2] = {static_cast<uint8_t>(of_block), static_cast<uint8_t>(of_block >> 8)};
      uint8_t found[2];
      Hamming::decode(hit, 2, found);
      return found[0] | static_cast<unsigned>(found[1]) << 6;
    };
    wrong += read(block) != both;
    for (int a = 0; a < 16; ++a) {
      const unsigned hit = block ^ 1u << a;
      wrong += read(hit) != (a == 6 ? both ^ 64 : both);
      for (int b = 0; b < a; ++b) {
        unsigned left = hit ^ 1u << b;
        for (int bit = 0; bit < 16; ++bit) {
          const int sum = Hamming::column(a) ^ Hamming::column(b);
          if (sum != 0 && Hamming::column(bit) == sum) left ^= 1u << bit;
        }
        wrong += read(hit ^ 1u << b) != (left & 4095);
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a tripled sign is the majority of its copies, for every word and every set of flips") {
  for (int word = 0; word < 64; ++word) {
    for (int flips = 0; flips < 256; ++flips) {
      const auto plain = static_cast<uint8_t>(word);
      uint8_t cell = 0, read = 0;
      TripledSign::encode(&plain, 1, &cell);
      REQUIRE(cell == (word & 31) + (word >= 32 ? 0xe0 : 0));
      cell = static_cast<uint8_t>(cell ^ flips);
      TripledSign::decode(&cell, 1, &read);
      const int copies = __builtin_popcount(static_cast<unsigned>(cell >> 5));
      REQUIRE(read == (cell & 31) + (copies >= 2 ? 32 : 0));
    }
  }
}

TEST_CASE("the copies of a sign are on no common bitline or, in rows of 8 KiB, wordline") {
  for (const int64_t count : {int64_t{3}, int64_t{100}, int64_t{8192}, TripledSign::kTileBytes,
                              TripledSign::kTileBytes + 1, 2 * TripledSign::kTileBytes - 1}) {
    const bool apart = count >= TripledSign::kTileBytes;
    std::vector<uint8_t> words(static_cast<size_t>(count)), cells(words), read(words);
    TripledSign::encode(words.data(), count, cells.data());
    const int64_t step = std::max<int64_t>(1, count / 50);
    for (int64_t i = 0; i < count; i += step) {
      words[static_cast<size_t>(i)] = 32;
      TripledSign::encode(words.data(), count, cells.data());
      words[static_cast<size_t>(i)] = 0;
      std::vector<int64_t> at;
      for (int64_t bit = 0; bit < 8 * count; ++bit) {
        if ((cells[static_cast<size_t>(bit / 8)] >> (bit % 8) & 1) != 0) at.push_back(bit);
      }
      REQUIRE(at.size() == 3);
      for (const int64_t row_bits : {1024, 8192, 65536}) {
        for (const int64_t address : {0, 8 * 777}) {
          std::set<int64_t> rows, columns;
          for (const int64_t bit : at) {
            rows.insert((address + bit) / row_bits);
            columns.insert((address + bit) % row_bits);
          }
          REQUIRE(columns.size() == 3);
          if (apart) REQUIRE(rows.size() == 3);
        }
      }
      // One copy, and no other cell, decides nothing.
      cells[static_cast<size_t>(at[0] / 8)] ^= static_cast<uint8_t>(1 << (at[0] % 8));
      TripledSign::decode(cells.data(), count, read.data());
      REQUIRE(read[static_cast<size_t>(i)] == 32);
      REQUIRE(std::count(read.begin(), read.end(), 0) == count - 1);
    }
  }
}

TEST_CASE(
    "MSET and CEP do what their papers' code does, for every word of 16 bits and every flip") {
  int64_t wrong = 0;
  for (uint32_t word = 0; word < 65536; ++word) {
    const uint32_t top = word >> 14 & 1;
    const uint32_t mset = eden::Mset<16>::protect(word);
    wrong += !(mset == ((word & 0xfffcu) | (top != 0 ? 3u : 0u)));
    const uint32_t cep = eden::Cep<16>::protect(word);
    for (int chunk = 0; chunk < 4; ++chunk) {
      const uint32_t bits = cep & (7u << (4 + 3 * chunk) | 1u << chunk);
      wrong += !(__builtin_parity(bits) == 0);
    }
    wrong += !((cep & 0xfff0u) == (word & 0xfff0u));
    wrong += !(eden::Cep<16>::recover(cep) == (word & 0xfff0u));
    wrong += !(eden::Mset<16>::recover(mset) == mset);
    for (int flip = 0; flip < 16; ++flip) {
      const uint32_t hit = 1u << flip;
      wrong += !((eden::Mset<16>::recover(mset ^ hit) >> 14 & 1) == top);
      const int chunk = flip < 4 ? flip : (flip - 4) / 3;
      wrong += !(eden::Cep<16>::recover(cep ^ hit) == (word & 0xfff0u & ~(7u << (4 + 3 * chunk))));
    }
  }
  // Of 32 bits, words at random.
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    const auto word = static_cast<uint32_t>(random());
    const uint32_t cep = eden::Cep<32>::protect(word), mset = eden::Mset<32>::protect(word);
    const int flip = i % 32, chunk = flip < 8 ? flip : (flip - 8) / 3;
    wrong += !(eden::Cep<32>::recover(cep) == (word & ~0xffu));
    wrong +=
        !(eden::Cep<32>::recover(cep ^ (1u << flip)) == (word & ~0xffu & ~(7u << (8 + 3 * chunk))));
    wrong += !((eden::Mset<32>::recover(mset ^ (1u << flip)) >> 30 & 1) == (word >> 30 & 1));
  }
  CHECK(wrong == 0);
}

namespace {

// The sum of the numbers of the ones, and whether they are odd in number, bit by bit.
uint32_t syndrome_by_bits(uint32_t word) {
  uint32_t sum = 0, odd = 0;
  for (uint32_t bit = 0; bit < 16; ++bit) {
    if ((word >> bit & 1) == 0) continue;
    sum ^= bit;
    odd ^= 1;
  }
  return sum | odd * 16;
}

// Calls visit(flipped, how many) for all words with so many flips or fewer, each once.
template <class Visit>
void flip_bits(uint32_t word, int bits, int most, Visit&& visit, int flips = 0) {
  visit(word, flips);
  if (flips == most) return;
  for (int bit = 0; bit < bits; ++bit) {
    flip_bits(word ^ uint32_t{1} << bit, bit, most, visit, flips + 1);
  }
}

}  // namespace

TEST_CASE("the extended Hamming code corrects one flip, reads two as zeros and keeps data sorted") {
  using Code = eden::ExtendedHamming;
  int64_t wrong = 0, first = -1;
  for (uint32_t data = 0; data < 1u << Code::kDataBits; ++data) {
    wrong += Code::kept(data) != data;
    flip_bits(Code::protect(data), 16, 3, [&](uint32_t word, int flips) {
      const uint32_t syndrome = syndrome_by_bits(word);
      // Three flips look like one of the bit whose number is the sum of theirs.
      const uint32_t fourth = uint32_t{1} << (syndrome & 15);
      const bool right = flips < 2    ? Code::recover(word) == data
                         : flips == 2 ? Code::recover(word) == 0
                                      : Code::recover(word) == Code::recover(word ^ fourth);
      if (!(right && Code::syndrome(word) == syndrome) && wrong++ == 0) first = data;
    });
  }
  INFO("first wrong data " << first);
  CHECK(wrong == 0);
  // The bits of the data without the checks, the highest, a number's sign, in its place.
  uint32_t before = 0;
  for (int bit = 0; bit < Code::kDataBits; ++bit) {
    const uint32_t word = Code::protect(1u << bit) & ~0x117u;
    CHECK(__builtin_popcount(word) == 1);
    CHECK(word > before);
    before = word;
  }
  CHECK(before >> 15 == 1);
}

TEST_CASE("the BCH code in a word corrects every two flips and reads every three as zeros") {
  using Code = eden::Bch;
  // A root of the polynomial x^5 + x^2 + 1: its powers, and a polynomial's value at one of them.
  uint32_t powers[31];
  for (uint32_t i = 0, power = 1; i < 31; ++i) {
    powers[i] = power;
    power = power << 1 ^ (power >> 4) * 0x25u;
  }
  const auto at = [&](uint32_t polynomial, int of_root) {
    uint32_t value = 0;
    for (int i = 0; i < 31; ++i) {
      if ((polynomial >> i & 1) != 0) value ^= powers[i * of_root % 31];
    }
    return value;
  };
  std::mt19937 random(3);
  int64_t wrong = 0;
  for (int i = 0; i < 300; ++i) {
    uint32_t data = static_cast<uint32_t>(random()) >> 11;
    if (i < 2) data = i == 0 ? 0 : (1u << Code::kDataBits) - 1;
    const uint32_t word = Code::protect(data);
    // Bose and Ray-Chaudhuri's condition: the first four powers of the root are roots.
    for (int of_root = 1; of_root <= 4; ++of_root) wrong += at(word >> 1, of_root) != 0;
    wrong += !(word >> 11 == data && __builtin_parity(word) == 0 && Code::kept(data) == data);
    flip_bits(word, 32, 3, [&](uint32_t read, int flips) {
      wrong += Code::recover(read) != (flips < 3 ? data : 0);
    });
  }
  CHECK(wrong == 0);
}
