// Do the inner loops of every instruction set find what weak_cells.h says?
#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catch2.h"
#include "memory/corrupt/simd/kernels.h"
#include "memory/lines.h"
#include "memory/weak_cells.h"

namespace {

using eden::simd::DenseQuery;
using eden::simd::FoundCells;
using eden::simd::Kernels;
using eden::simd::MarkBlocks;
using eden::simd::PatchLines;
using eden::simd::SparseQuery;

// The first random numbers of std::mt19937_64 are the same everywhere; its distributions are not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t bits() { return engine_(); }
  uint64_t below(uint64_t end) { return engine_() % end; }
  bool chance(int percent) { return below(100) < static_cast<uint64_t>(percent); }

 private:
  std::mt19937_64 engine_;
};

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> found;
  for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
    if (const Kernels* kernels = eden::simd::kernels_of(name)) found.push_back(kernels);
  }
  return found;
}

// Owns what the kernels append to.
template <class Found>
struct Owned {
  Found found;
  ~Owned() { eden::simd::release(found); }
};

std::vector<uint32_t> unique(std::vector<uint32_t> entries) {
  std::sort(entries.begin(), entries.end());
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
  return entries;
}

std::vector<uint32_t> entries_of(const FoundCells& found) {
  return unique(std::vector<uint32_t>(found.cell, found.cell + found.size));
}

std::vector<uint32_t> reference_sparse(uint64_t chip, const std::vector<SparseQuery>& queries) {
  std::vector<uint32_t> entries;
  for (const SparseQuery& query : queries) {
    for (uint32_t i = 0; i < query.blocks; ++i) {
      eden::visit_marks(chip, query.level, query.first_block + i, [&](const eden::Mark& mark) {
        const uint64_t cell = mark.cell();
        if (cell < query.origin + query.low || cell >= query.origin + query.high) return;
        if (!mark.below(chip, query.strong)) return;
        entries.push_back(static_cast<uint32_t>(cell - query.origin) << 1 |
                          !mark.below(chip, query.always));
      });
    }
  }
  return unique(entries);
}

// A threshold anywhere: in the level's octave, at its ends, outside it, or exactly at (or one
// beside) a mark of the query's blocks, known bits and tail.
uint64_t random_threshold(Random& random, uint64_t chip, const SparseQuery& query) {
  const uint64_t octave = static_cast<uint64_t>(eden::kLastLevel - query.level)
                          << eden::kCodeOctaveShift;
  switch (random.below(8)) {
    case 0:
      return octave + random.below(3);
    case 1:
      return octave + (uint64_t{1} << eden::kCodeOctaveShift) - random.below(3);
    case 2:
      return octave + (random.bits() >> 32);
    case 3:
      return random.below(eden::kMaxSparseCode + 1);
    case 4:
      return octave + (uint64_t{1} << eden::kCodeOctaveShift) + random.below(2);
    default: {
      std::vector<uint64_t> codes;
      const uint64_t block = query.first_block + random.below(query.blocks);
      eden::visit_marks(chip, query.level, block, [&](const eden::Mark& mark) {
        codes.push_back(octave | mark.position() | mark.tail(chip));
      });
      if (codes.empty()) return octave + 1;
      return codes[random.below(codes.size())] + random.below(3) - (random.chance(50) ? 1 : 0);
    }
  }
}

SparseQuery random_query(Random& random, uint64_t chip, uint64_t origin, int level,
                         uint32_t most_blocks) {
  SparseQuery query{};
  const int bits = eden::block_bits(level);
  query.level = level;
  query.origin = origin;
  const uint64_t block_cells = uint64_t{1} << bits;
  const uint64_t span = std::min<uint64_t>(uint64_t{1} << 31, block_cells * most_blocks);
  query.low = static_cast<uint32_t>(random.chance(30) ? 0 : random.below(span / 2));
  query.high = query.low + static_cast<uint32_t>(1 + random.below(span / 2));
  query.first_block = (origin + query.low) >> bits;
  query.blocks = static_cast<uint32_t>(((origin + query.high - 1) >> bits) - query.first_block) + 1;
  if (random.chance(20) && query.blocks > 1) --query.blocks;  // not all of the window
  if (random.chance(20) && query.blocks > 1) {
    --query.blocks;
    ++query.first_block;
  }
  query.strong = random_threshold(random, chip, query);
  query.always = random.chance(50) ? query.strong : random_threshold(random, chip, query);
  if (query.always > query.strong) std::swap(query.always, query.strong);
  return query;
}

uint64_t random_origin(Random& random) {
  switch (random.below(4)) {
    case 0:
      return 0;
    case 1:
      return (uint64_t{1} << (37 + random.below(25))) - random.below(uint64_t{1} << 31);
    case 2:  // so that the last level's window reaches into a second block
      return ((1 + random.below(1000)) << 32) - random.below(uint64_t{1} << 31);
    default:
      return random.below(uint64_t{1} << 62);
  }
}

// Thresholds with marks in no level, in some and in all.
uint64_t random_threshold(Random& random) {
  const uint64_t most = eden::kMaxSparseCode >> random.below(20);
  return random.chance(30) ? 0 : random.chance(10) ? eden::kMaxSparseCode : 1 + random.below(most);
}

}  // namespace

TEST_CASE("every instruction set finds the marks of the scalar functions") {
  Random random(1);
  size_t found_cells = 0, strong_only = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const uint64_t chip = random.bits(), origin = random_origin(random);
    std::vector<SparseQuery> queries;
    const size_t count = 1 + random.below(trial % 2 ? 40 : 4);
    for (size_t i = 0; i < count; ++i) {
      const int level = eden::kFirstLevel +
                        static_cast<int>(random.below(eden::kLastLevel - eden::kFirstLevel + 1));
      queries.push_back(random_query(random, chip, origin, level, random.chance(10) ? 1500 : 5));
    }
    const std::vector<uint32_t> expected = reference_sparse(chip, queries);
    found_cells += expected.size();
    for (const uint32_t entry : expected) strong_only += entry & 1;
    for (const Kernels* kernels : all_kernels()) {
      Owned<FoundCells> owned;
      kernels->find_sparse(chip, queries.data(), queries.size(), owned.found);
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(entries_of(owned.found) == expected);
    }
  }
  CHECK(found_cells > 10000);
  CHECK(strong_only > 1000);
}

TEST_CASE("blocks are numbered on beyond a multiple of 2^32") {
  Random random(6);
  for (int trial = 0; trial < 60; ++trial) {
    const uint64_t chip = random.bits();
    SparseQuery query{};
    query.level = eden::kFirstLevel + static_cast<int>(random.below(6));
    query.blocks = static_cast<uint32_t>(1 + random.below(trial % 2 ? 2000 : 100));
    query.first_block = ((1 + random.below(100)) << 32) - random.below(query.blocks + 1);
    query.origin = query.first_block << eden::block_bits(query.level);
    query.high = query.blocks << eden::block_bits(query.level);
    query.strong = random_threshold(random, chip, query);
    query.always = random.chance(50) ? query.strong : random.below(query.strong + 1);
    const std::vector<uint32_t> expected = reference_sparse(chip, {query});
    for (const Kernels* kernels : all_kernels()) {
      Owned<FoundCells> owned;
      kernels->find_sparse(chip, &query, 1, owned.found);
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(entries_of(owned.found) == expected);
    }
  }
}

TEST_CASE("a threshold at a mark's own code is decided by its tail") {
  Random random(2);
  int ties = 0;
  for (int level = eden::kFirstLevel; level <= eden::kLastLevel; ++level) {
    for (int trial = 0; trial < 20; ++trial) {
      const uint64_t chip = random.bits(), block = random.below(1000);
      std::vector<eden::Mark> marks;
      eden::visit_marks(chip, level, block, [&](const eden::Mark& mark) { marks.push_back(mark); });
      if (marks.empty()) continue;
      const eden::Mark& mark = marks[random.below(marks.size())];
      const uint64_t octave = static_cast<uint64_t>(eden::kLastLevel - level)
                              << eden::kCodeOctaveShift;
      const uint64_t code = octave | mark.position() | mark.tail(chip);
      const uint64_t origin = mark.cell() - std::min<uint64_t>(mark.cell(), random.below(100));
      const uint32_t offset = static_cast<uint32_t>(mark.cell() - origin);
      SparseQuery query{block, origin, 1, offset, offset + 1, level, code, code + 1};
      for (const Kernels* kernels : all_kernels()) {
        INFO(kernels->name << ", level " << level);
        for (const auto& [always, strong] : {std::pair{code, code},
                                             {code, code + 1},
                                             {code + 1, code + 1},
                                             {uint64_t{0}, code + 1}}) {
          query.always = always;
          query.strong = strong;
          Owned<FoundCells> owned;
          kernels->find_sparse(chip, &query, 1, owned.found);
          const auto expected = reference_sparse(chip, {query});
          REQUIRE(entries_of(owned.found) == expected);
          ties += strong > code && !expected.empty();
        }
      }
    }
  }
  CHECK(ties > 1000);
}

TEST_CASE("a head whose high word is one of the table's is counted by its low word") {
  // Found by trying 2^34 blocks: one head in 140 million is such a one.
  struct Border {
    uint64_t block;
    uint32_t marks;
  };
  constexpr uint64_t kChip = 1;
  constexpr int kLevel = eden::kFirstLevel;
  for (const Border border :
       {Border{3267754768u, 0}, {3349385858u, 1},  {566591794u, 2},   {2593956056u, 2},
        {311340748u, 4},        {728126313u, 4},   {539637491u, 6},   {1361217111u, 8},
        {1656348901u, 8},       {2974528159u, 12}, {3905967738u, 13}, {2851427959u, 15},
        {2865792963u, 17},      {1994593527u, 18}, {783751274u, 19},  {3437730123u, 20},
        {1532388064u, 21},      {2476062918u, 22}, {784334300u, 22},  {1198136704u, 23},
        {2145234745u, 26},      {2536853058u, 29}, {710701965u, 30},  {2816740911u, 31},
        {21842241590u, 32}}) {
    const eden::PhiloxWords head = eden::draw_marks(kChip, kLevel, border.block, 0);
    bool in_table = false;
    for (const uint64_t entry : eden::kPoissonTable) in_table |= entry >> 32 == head.word[1];
    REQUIRE(in_table);
    REQUIRE(static_cast<uint32_t>(eden::mark_count(head)) == border.marks);
    constexpr uint32_t kNeighbours = 200;  // enough for a run, on either side
    SparseQuery query{};
    query.level = kLevel;
    query.always = query.strong = eden::kMaxSparseCode;
    for (const uint32_t neighbours : {0u, kNeighbours}) {
      query.first_block = border.block - neighbours;
      query.blocks = 2 * neighbours + 1;
      query.origin = query.first_block << eden::block_bits(kLevel);
      query.high = query.blocks << eden::block_bits(kLevel);
      const std::vector<uint32_t> expected = reference_sparse(kChip, {query});
      for (const Kernels* kernels : all_kernels()) {
        INFO(kernels->name << ", block " << border.block);
        Owned<FoundCells> cells;
        kernels->find_sparse(kChip, &query, 1, cells.found);
        REQUIRE(entries_of(cells.found) == expected);
        // Of one line as long as the block, every mark is found.
        const uint64_t threshold = eden::kMaxSparseCode;
        const uint32_t key = eden::line_key(threshold);
        const uint32_t length = 1u << eden::block_bits(kLevel);
        const PatchLines line{
            border.block * length, 1, length, &threshold, &key, nullptr, nullptr, false, 0,
            eden::simd::kOneRow,   0, length, 0};
        const uint64_t first = 1;
        const MarkBlocks block{border.block, &first, 1, kLevel};
        Owned<FoundCells> marks;
        kernels->find_in_lines(kChip, line, &block, 1, marks.found);
        REQUIRE(marks.found.size == border.marks);
      }
    }
  }
}

TEST_CASE("every instruction set finds the marks of lines") {
  Random random(3);
  size_t found_cells = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const uint64_t chip = random.bits();
    PatchLines lines{};
    lines.length = 32 * static_cast<uint32_t>(1 + random.below(random.chance(50) ? 20 : 3000));
    lines.count = static_cast<uint32_t>(1 + random.below(random.chance(50) ? 5 : 200));
    const uint64_t first_line = (random_origin(random) + random.below(1000)) / lines.length;
    lines.first_cell = first_line * lines.length;
    std::vector<uint64_t> thresholds(lines.count);
    std::vector<uint32_t> keys(lines.count);
    std::vector<uint64_t> lower(lines.count);
    std::vector<uint32_t> lower_keys(lines.count);
    const bool two = random.chance(50);
    for (size_t i = 0; i < lines.count; ++i) {
      thresholds[i] = random_threshold(random);
      keys[i] = eden::line_key(thresholds[i]);
      // Some alike, some that differ by what no key tells.
      lower[i] = random.chance(30) ? thresholds[i] - std::min(thresholds[i], random.below(3))
                                   : std::min(thresholds[i], random_threshold(random));
      lower_keys[i] = eden::line_key(lower[i]);
    }
    lines.threshold = thresholds.data();
    lines.key = keys.data();
    if (two) lines.lower = lower.data(), lines.lower_key = lower_keys.data();
    lines.across = random.chance(50);
    const uint64_t cells = uint64_t{lines.count} * lines.length;
    lines.row_shift = eden::simd::kOneRow;
    lines.lead = static_cast<uint32_t>(random.below(lines.length));
    if (lines.across) {
      while (lines.row_shift > 0 && lines.count <= 1u << (lines.row_shift - 1)) --lines.row_shift;
      const uint64_t rows = lines.length - lines.lead;
      if (rows << lines.row_shift >= uint64_t{1} << 31) continue;
      lines.end = static_cast<uint32_t>(rows << lines.row_shift);
    } else {
      lines.end = static_cast<uint32_t>(cells - lines.lead);
    }
    lines.begin = static_cast<uint32_t>(random.below(2) * random.below(lines.end));
    std::vector<MarkBlocks> blocks;
    std::vector<std::vector<uint64_t>> wanted;
    std::vector<uint32_t> expected;
    for (int level = eden::kFirstLevel; level <= eden::kLastLevel; ++level) {
      const int bits = eden::block_bits(level);
      const uint64_t first = lines.first_cell >> bits;
      const uint64_t last = (lines.first_cell + cells - 1) >> bits;
      std::vector<uint64_t>& of_level = wanted.emplace_back((last - first) / 64 + 1);
      blocks.push_back({first, of_level.data(), of_level.size(), level});
      const uint64_t step = 1 + random.below(3);
      for (uint64_t block = last - first > 300 ? last - 300 : first; block <= last; block += step) {
        of_level[(block - first) / 64] |= uint64_t{1} << ((block - first) % 64);
        eden::visit_marks(chip, level, block, [&](const eden::Mark& mark) {
          const uint64_t offset = mark.cell() - lines.first_cell;
          if (offset >= cells) return;
          const uint64_t line = offset / lines.length, place = offset % lines.length;
          const uint64_t at =
              lines.across ? ((place - lines.lead) << lines.row_shift) + line : offset - lines.lead;
          if (at < lines.begin || at >= lines.end) return;
          if (!mark.below(chip, thresholds[line])) return;
          const bool once = two && !mark.below(chip, lower[line]);
          expected.push_back(static_cast<uint32_t>(2 * at + once));
        });
      }
    }
    expected = unique(expected);
    found_cells += expected.size();
    for (const Kernels* kernels : all_kernels()) {
      Owned<FoundCells> owned;
      kernels->find_in_lines(chip, lines, blocks.data(), blocks.size(), owned.found);
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(entries_of(owned.found) == expected);
    }
  }
  CHECK(found_cells > 10000);
}

TEST_CASE("every instruction set finds the dense part of lines") {
  Random random(8);
  for (int trial = 0; trial < 100; ++trial) {
    const uint64_t chip = random.bits();
    PatchLines lines{};
    lines.length = 32 * static_cast<uint32_t>(1 + random.below(40));
    lines.across = true;
    lines.row_shift = static_cast<int>(7 + random.below(4));
    const uint32_t columns = (1u << lines.row_shift) - static_cast<uint32_t>(random.below(60));
    lines.count = columns;
    // Some across a multiple of 2^32 groups.
    const uint64_t near = random.chance(30) ? uint64_t{1} << 37 : random_origin(random);
    lines.first_cell = near / lines.length * lines.length;
    lines.lead = static_cast<uint32_t>(random.below(lines.length));
    const uint32_t rows = 1 + static_cast<uint32_t>(random.below(lines.length - lines.lead));
    lines.begin = static_cast<uint32_t>(random.below(2) * random.below(columns));
    const uint32_t cut = static_cast<uint32_t>(random.below(2)) * ((columns - lines.begin) / 2);
    lines.end = ((rows - 1) << lines.row_shift) + columns - cut;
    const bool two = random.chance(50);
    const uint64_t any = 0;
    std::vector<uint32_t> of_value[2];
    if (two) lines.lower = &any;  // whose thresholds are on marks, of which none are here
    std::vector<eden::simd::DenseLine> dense;
    std::vector<uint32_t> expected;
    for (uint32_t line = 0; line < lines.count; ++line) {
      if (random.chance(70)) continue;
      const auto probability = [&] {
        return random.chance(10)   ? eden::kAlways
               : random.chance(10) ? 1
                                   : 1 + (random.bits() >> random.below(8));
      };
      const uint64_t zero = probability(), one = two && random.chance(20) ? 0 : probability();
      dense.push_back({line, {zero, one}});
      for (uint32_t place = 0; place < lines.length; ++place) {
        const uint64_t cell = lines.first_cell + uint64_t{line} * lines.length + place;
        const auto weak = [&](uint64_t of) {
          return (eden::dense_weak(chip, cell >> eden::kGroupBits, of) >>
                  (cell % eden::kGroupCells)) &
                 1;
        };
        const uint32_t zeros = weak(zero), ones = two ? weak(one) : zeros;
        if ((zeros | ones) == 0 || place < lines.lead) continue;
        const uint32_t at = ((place - lines.lead) << lines.row_shift) + line;
        if (at < lines.begin || at >= lines.end) continue;
        expected.push_back(2 * at + (zeros ^ ones));
        for (uint32_t value = 0; value < 2; ++value) {
          if ((value == 0 ? zeros : ones) != 0) of_value[value].push_back(at);
        }
      }
    }
    expected = unique(expected);
    for (const Kernels* kernels : all_kernels()) {
      Owned<FoundCells> owned;
      kernels->find_dense_in_lines(chip, lines, dense.data(), dense.size(), {nullptr, nullptr},
                                   owned.found);
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(entries_of(owned.found) == expected);
      // Into masks that hold other bits already, and nothing beyond the places.
      lines.row_gap = 64 * static_cast<uint32_t>(random.below(3));
      const size_t words = rows * ((size_t{1} << lines.row_shift) + lines.row_gap) / 64, spare = 8;
      std::vector<uint64_t> masks[2], joined[2];
      for (size_t value = 0; value < 2; ++value) {
        masks[value].assign(words + spare, 0);
        masks[value][words / 2] = masks[value][words] = 5 + value;
        joined[value] = masks[value];
        if (value == 1 && !two) continue;
        for (const uint32_t at : of_value[value]) {
          const size_t bit = at + (at >> lines.row_shift) * lines.row_gap;
          joined[value][bit / 64] |= uint64_t{1} << (bit % 64);
        }
      }
      kernels->find_dense_in_lines(chip, lines, dense.data(), dense.size(),
                                   {masks[0].data(), masks[1].data()}, owned.found);
      REQUIRE(masks[0] == joined[0]);
      REQUIRE(masks[1] == joined[1]);
    }
  }
}

TEST_CASE("every instruction set finds the lines with small marks") {
  Random random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const uint64_t chip = random.bits();
    // Some across a multiple of 2^32 draws.
    const uint64_t first =
        random.chance(30) ? (uint64_t{1} << 34) - random.below(300) : random_origin(random);
    const auto count = static_cast<uint32_t>(1 + random.below(500));
    const uint32_t most =
        random.chance(20) ? ~0u : static_cast<uint32_t>(random.bits()) >> random.below(12);
    const auto last =
        random.chance(50) ? 0 : static_cast<uint32_t>(random.below(uint64_t{1} << 32)) & ~most;
    const bool apart = random.chance(50);
    std::vector<std::pair<uint32_t, uint32_t>> expected;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t mark = eden::line_mark(eden::draw_lines(chip, first + i, apart), first + i);
      if (mark <= most || ~mark < last) expected.emplace_back(i, mark);
    }
    for (const Kernels* kernels : all_kernels()) {
      std::vector<uint32_t> line(count + eden::simd::kMostLanes), mark(line);
      const size_t size = kernels->find_weak_lines(chip, apart ? eden::kLinesApart : 0, first,
                                                   count, most, last, line.data(), mark.data());
      std::vector<std::pair<uint32_t, uint32_t>> found;
      for (size_t i = 0; i < size; ++i) found.emplace_back(line[i], mark[i]);
      std::sort(found.begin(), found.end());
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(found == expected);
    }
  }
}

TEST_CASE("every instruction set keeps the cells whose read fails") {
  Random random(4);
  const uint64_t failures[] = {0,
                               1,
                               uint64_t{1} << 60,
                               uint64_t{1} << 63,
                               0x123456789abcdef0u,
                               0xfffffffffffff000u,
                               eden::kAlways - 1,
                               eden::kAlways};
  for (int trial = 0; trial < 60; ++trial) {
    const uint64_t chip = random.bits(), origin = random_origin(random),
                   access = random.bits() >> 10;
    for (const uint64_t failure : failures) {
      std::vector<uint32_t> entries(random.below(trial % 5 ? 60 : 3000));
      const uint64_t end = random.chance(50) ? 4000 : uint64_t{1} << 31;
      // Of one row, or of some that are further apart than they are long.
      eden::simd::Rows rows{origin, 0, eden::simd::kOneRow};
      if (end == 4000 && random.chance(50)) {
        rows.row_shift = static_cast<int>(5 + random.below(5));
        rows.stride = (uint64_t{1} << rows.row_shift) + random.below(1 << 20);
      }
      for (uint32_t& entry : entries)
        entry = static_cast<uint32_t>(random.below(end) << 1 | random.below(2));
      std::vector<uint32_t> expected;
      for (const uint32_t entry : entries) {
        const uint64_t row = (entry >> 1) >> rows.row_shift;
        const uint64_t column = (entry >> 1) - (row << rows.row_shift);
        if (eden::cell_fails(chip, origin + row * rows.stride + column, access, failure))
          expected.push_back(entry);
      }
      std::sort(expected.begin(), expected.end());
      for (const Kernels* kernels : all_kernels()) {
        Owned<FoundCells> owned;
        eden::simd::reserve(owned.found, entries.size() + 1);
        std::copy(entries.begin(), entries.end(), owned.found.cell);
        owned.found.size = entries.size();
        kernels->keep_failing(chip, rows, access, failure, owned.found);
        std::vector<uint32_t> kept(owned.found.cell, owned.found.cell + owned.found.size);
        std::sort(kept.begin(), kept.end());
        INFO(kernels->name << ", trial " << trial << ", failure " << failure);
        REQUIRE(kept == expected);
      }
    }
  }
}

TEST_CASE("every instruction set finds the dense cells") {
  Random random(5);
  const auto probability = [&]() -> uint64_t {
    switch (random.below(8)) {
      case 0:
        return 0;
      case 1:
        return eden::kAlways;
      case 2:
        return random.bits() >> 10;
      case 3:
        return uint64_t{1} << random.below(64);
      case 4:  // open to the last digits
        return eden::kAlways - random.below(3);
      default:
        return random.bits();
    }
  };
  constexpr uint32_t kUntouched = 0xdeadbeefu;
  for (int trial = 0; trial < 300; ++trial) {
    const uint64_t chip = random.bits(), access = random.bits() >> 10;
    const uint64_t failure = trial % 3 == 0 ? eden::kAlways : probability();
    const bool one_mask = trial % 4 == 0;
    std::vector<DenseQuery> queries(1 + random.below(5));
    uint32_t place = static_cast<uint32_t>(random.below(3));
    for (DenseQuery& query : queries) {
      query.groups = static_cast<uint32_t>(random.below(random.chance(10) ? 1300 : 40));
      query.first_group = random.chance(30) ? (uint64_t{1} << 32) - random.below(20)
                                            : random.below(uint64_t{1} << 57);
      query.place = place;
      place += query.groups + static_cast<uint32_t>(random.below(3));
      query.strong = probability();
      query.always = one_mask || random.chance(30) ? query.strong : probability();
      if (query.always > query.strong) std::swap(query.always, query.strong);
    }
    std::vector<uint32_t> always(place + 1, kUntouched), strong(place + 1, kUntouched);
    for (const DenseQuery& query : queries) {
      for (uint32_t g = 0; g < query.groups; ++g) {
        const uint64_t group = query.first_group + g;
        const uint32_t weak_always = eden::dense_weak(chip, group, query.always);
        const uint32_t weak_strong = eden::dense_weak(chip, group, query.strong);
        const uint32_t fails = eden::failing(chip, group, access, failure, weak_strong);
        always[query.place + g] = weak_always & fails;
        strong[query.place + g] = weak_strong & fails;
      }
    }
    for (const Kernels* kernels : all_kernels()) {
      std::vector<uint32_t> found_always(place + 1, kUntouched),
          found_strong(place + 1, kUntouched);
      kernels->find_dense(chip, access, failure, queries.data(), queries.size(),
                          found_always.data(), one_mask ? nullptr : found_strong.data());
      INFO(kernels->name << ", trial " << trial);
      REQUIRE(found_always == always);
      if (!one_mask) REQUIRE(found_strong == strong);
    }
  }
}

TEST_CASE("every instruction set flips bytes at any alignment, streaming or not") {
  Random random(6);
  for (int trial = 0; trial < 200; ++trial) {
    constexpr size_t kRoom = 1200;
    std::vector<uint8_t> in(kRoom), zero(kRoom), one(kRoom), before(kRoom);
    for (auto* bytes : {&in, &zero, &one, &before}) {
      for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(random.bits());
    }
    const bool streams = random.chance(50), in_place = random.chance(20);
    // Three runs one after another, each with its own kind of masks.
    std::vector<uint8_t> expected = in_place ? in : before;
    struct Piece {
      size_t from, to, bytes, masks;
    };
    std::vector<Piece> pieces;
    for (size_t at = random.below(100); pieces.size() < 3;) {
      const size_t bytes = random.below(300), to = in_place ? at : at + random.below(64);
      pieces.push_back({at, to, bytes, random.below(3)});
      for (size_t i = 0; i < bytes; ++i) {
        const uint8_t word = in[at + i];
        const uint8_t of_zero = pieces.back().masks == 0 ? 0 : zero[at + i];
        const uint8_t of_one = pieces.back().masks == 2 ? one[at + i] : of_zero;
        expected[to + i] = static_cast<uint8_t>((word & ~of_one) | (~word & of_zero));
      }
      at = to + bytes;
    }
    for (const Kernels* kernels : all_kernels()) {
      std::vector<uint8_t> source = in, result = before;
      std::vector<uint8_t>& out = in_place ? source : result;
      std::vector<eden::simd::FlipRun> runs;
      for (const Piece& piece : pieces) {
        const uint8_t* of_zero = piece.masks == 0 ? nullptr : zero.data() + piece.from;
        runs.push_back({source.data() + piece.from, out.data() + piece.to, piece.bytes, of_zero,
                        piece.masks == 2 ? one.data() + piece.from : of_zero});
      }
      kernels->flip(runs.data(), runs.size(), streams);
      INFO(kernels->name << ", trial " << trial);
      REQUIRE((out == expected));
    }
  }
}

TEST_CASE("what is found is appended, and nothing asked finds nothing") {
  const SparseQuery query{0, 0, 64, 0, 64 << 8, 4, eden::kMaxSparseCode, eden::kMaxSparseCode};
  SparseQuery no_block = query, no_window = query, no_threshold = query;
  no_block.blocks = 0;
  no_window.high = 0;
  no_threshold.always = no_threshold.strong = 0;
  for (const Kernels* kernels : all_kernels()) {
    Owned<FoundCells> owned;
    for (const SparseQuery& nothing : {no_block, no_window, no_threshold}) {
      kernels->find_sparse(1, &nothing, 1, owned.found);
    }
    CHECK(owned.found.size == 0);
    kernels->find_sparse(1, &query, 1, owned.found);
    const size_t once = owned.found.size;
    const auto entries = entries_of(owned.found);
    CHECK(once > 100);
    kernels->find_sparse(1, &query, 1, owned.found);
    CHECK(owned.found.size == 2 * once);
    CHECK(entries_of(owned.found) == entries);
  }
}

TEST_CASE("the instruction set is the best one or the one asked for") {
  CHECK(eden::simd::kernels_of("baseline") != nullptr);
  CHECK(eden::simd::kernels_of("sse9") == nullptr);
  const char* wanted = std::getenv("EDEN_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    const Kernels* best = nullptr;
    for (const char* name : {"avx512", "avx2", "neon", "baseline"}) {
      if (best == nullptr) best = eden::simd::kernels_of(name);
    }
    CHECK(&eden::simd::kernels() == best);
  } else if (eden::simd::kernels_of(wanted) != nullptr) {
    CHECK(std::string(eden::simd::kernels().name) == wanted);
  } else {
    CHECK_THROWS_WITH(eden::simd::kernels(),
                      Catch::Contains(wanted) && Catch::Contains("baseline"));
  }
}
