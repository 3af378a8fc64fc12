// The weak cells of a stretch of memory by their marks, octave by octave (see weak_cells.h): blocks
// of marks are drawn in lanes, and each mark is judged by the thresholds of its query.
#pragma once

#include "memory/corrupt/simd/random_lanes.h"
#include "memory/region.h"
#include "memory/weak_cells.h"

namespace eden::simd::EDEN_ISA {
namespace {

// The number of marks of a head's blocks, 0 in lanes that are not valid.
EDEN_LANES Words count_marks(const Words (&head)[4], Mask valid) {
  Mask tie;
  Words count = count_by_high_words(head[1], tie);
  if (__builtin_expect(any(both(tie, valid)), 0)) {
    alignas(64) uint32_t low[kLanes], high[kLanes], counts[kLanes];
    store(low, head[0]);
    store(high, head[1]);
    store(counts, count);
    for (uint32_t lanes = bits_of(tie); lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      counts[lane] = static_cast<uint32_t>(count_of_head(low[lane], high[lane]));
    }
    count = load(counts);
  }
  return where(valid, count);
}

// Blocks of any queries, one to a lane: fields side by side.
struct Blocks {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t low_index[kRoom];
  alignas(64) uint32_t high_index[kRoom];
  alignas(64) uint32_t level[kRoom];
  alignas(64) uint32_t query[kRoom];
  alignas(64) uint32_t count[kRoom];
  // Of find_sparse alone: see Place.
  alignas(64) uint32_t base[kRoom];
  alignas(64) uint32_t span[kRoom];
  alignas(64) uint32_t entry[kRoom];
  alignas(64) uint32_t strong[kRoom];
  alignas(64) uint32_t always[kRoom];
  size_t size = 0;
  bool two_thresholds = false;

  EDEN_INLINE uint64_t index(size_t lane) const {
    return (static_cast<uint64_t>(high_index[lane]) << 32) | low_index[lane];
  }
};

constexpr uint32_t kMarksInFirstDraw = static_cast<uint32_t>(kMarksInHead);
constexpr uint32_t kMarksPerDraw = static_cast<uint32_t>(kMarksInDraw);

// The ordinal of the first mark of a further draw.
EDEN_LANES uint32_t first_ordinal(uint32_t which) {
  return kMarksPerDraw * which - (kMarksPerDraw - kMarksInFirstDraw);
}

template <int kSets>
EDEN_LANES void draw_marks_of(const Keys& keys, const Blocks& blocks, size_t at, uint32_t which,
                              Numbers<kSets>& numbers) {
  Counter counter[kSets];
  EDEN_UNROLL(2)
  for (size_t set = 0; set < kSets; ++set) {
    const size_t lane = at + set * kLanes;
    counter[set] = {{load(blocks.low_index + lane), load(blocks.high_index + lane),
                     broadcast(which),
                     load(blocks.level + lane) | counter_word(Stream::kSparseMark, 0)}};
  }
  draw_lanes(keys, counter, numbers);
}

// Draws all marks of the blocks and shows each to the judge; lanes that are done are squeezed out
// between the draws.
template <class Judge>
EDEN_LANES void draw_blocks(const Keys& keys, Blocks& blocks, Judge& judge) {
  for_each_step(blocks.size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
    Numbers<sets.kNumber> numbers;
    draw_marks_of(keys, blocks, at, 0, numbers);
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      const Words count = count_marks(numbers.word[set], lanes_before(lane, blocks.size));
      store(blocks.count + lane, count);
      const auto place = judge.place(blocks, lane);
      EDEN_UNROLL(2)
      for (uint32_t i = 0; i < kMarksInFirstDraw; ++i) {
        judge.take(place, blocks, lane, i, numbers.word[set][kMarksPerDraw - kMarksInFirstDraw + i],
                   less(broadcast(i), count));
      }
    }
  });
  size_t size = blocks.size;
  for (uint32_t which = 1; size != 0; ++which) {
    const uint32_t ordinal = first_ordinal(which);
    size_t left = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Numbers<sets.kNumber> numbers;
      draw_marks_of(keys, blocks, at, which, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        const Words count = where(lanes_before(lane, size), load(blocks.count + lane));
        const auto place = judge.place(blocks, lane);
        EDEN_UNROLL(4)
        for (uint32_t i = 0; i < kMarksPerDraw; ++i) {
          judge.take(place, blocks, lane, ordinal + i, numbers.word[set][i],
                     less(broadcast(ordinal + i), count));
        }
        const Mask more = less(broadcast(ordinal + kMarksPerDraw), count);
        judge.squeeze(blocks, lane, left, more);
        compress(blocks.low_index + left, more, load(blocks.low_index + lane));
        compress(blocks.high_index + left, more, load(blocks.high_index + lane));
        compress(blocks.level + left, more, load(blocks.level + lane));
        compress(blocks.query + left, more, load(blocks.query + lane));
        left += compress(blocks.count + left, more, count);
      }
    });
    size = left;
  }
  blocks.size = 0;
}

EDEN_LANES void append(uint32_t* field, size_t blocks, uint32_t value) {
  for (size_t at = 0; at < blocks; at += kLanes) store(field + at, broadcast(value));
}

// Blocks first_block to first_block + count - 1; there is room for them.
EDEN_LANES void append_indices(Blocks& blocks, uint32_t query, int level, uint64_t first_block,
                               size_t count) {
  const size_t size = blocks.size;
  const uint32_t low = low_half(first_block), high = high_half(first_block);
  for (size_t at = 0; at < count; at += kLanes) {
    const Words number = lane_numbers() + static_cast<uint32_t>(at);
    const Words index = number + low;
    store(blocks.low_index + size + at, index);
    // Beyond a multiple of 2^32 the sum is less than what was added to.
    store(blocks.high_index + size + at, high + where(less(index, broadcast(low)), broadcast(1)));
  }
  append(blocks.level + size, count, static_cast<uint32_t>(level));
  append(blocks.query + size, count, query);
}

// Which positions in a level's octave lie below a threshold.
struct Limit {
  bool some;
  uint32_t largest;
};
EDEN_LANES Limit limit_in_level(uint64_t threshold, int level) {
  const uint64_t octave = static_cast<uint64_t>(kLastLevel - level) << kCodeOctaveShift;
  if (threshold <= octave) return {false, 0};
  const uint64_t positions = threshold - octave;
  return {true, positions > kWholeOctave ? kWholeOctave : static_cast<uint32_t>(positions) - 1};
}

EDEN_LANES int bits_of_block(int level) {
  return (level < kLastLevel ? level + 1 : kLastLevel) + kMarksPerBlockLog2;
}

// How marks of a lane's block become entries.
struct Place {
  Words base;   // offset of the block's first cell from the lowest wanted one, modulo 2^32
  Words span;   // number of wanted cells from that one on
  Words entry;  // the lowest wanted cell's; odd where all cells flip for the strong value alone
  Words bits, shift, unknown;
  Words strong;  // largest position that flips the cell
  Words always;  // largest position for which the entry stays as it is
};

// block_bits of every lane.
EDEN_LANES Words bits_of_blocks(Words level) {
  return level + kMarksPerBlockLog2 + where(less(level, broadcast(kLastLevel)), broadcast(1));
}

EDEN_LANES void set_bits(Place& place, Words bits) {
  place.bits = bits;
  place.shift = 32u - bits;
  place.unknown = shift_left(broadcast(1), bits) - 1u;
}

// How many thresholds cut a level.
enum class Cut { kNone, kOne, kTwo };

// Where found cells go.
class Collector {
 public:
  EDEN_INLINE Collector(uint64_t chip, FoundCells& found)
      : chip_(chip), found_(found), end_(found.cell + found.size) {}
  EDEN_INLINE void finish() { found_.size = static_cast<size_t>(end_ - found_.cell); }

  // Takes the marks of valid lanes, of which `source` knows the queries and blocks.
  template <Cut kCut, class Source>
  EDEN_INLINE void take(const Place& place, const Source& source, uint32_t ordinal, Words word,
                        Mask valid) {
    const Words cell = (word >> place.shift) + place.base;
    Words entry = cell + cell + place.entry;
    Mask wanted = both(valid, less(cell, place.span));
    if (kCut != Cut::kNone) {
      const Words lowest = shift_left(word, place.bits), highest = lowest | place.unknown;
      const Mask below = both(wanted, at_most(highest, place.strong));
      // Where the bits not drawn yet decide.
      Mask tie = without(both(wanted, at_most(lowest, place.strong)), below);
      if (kCut == Cut::kTwo) {
        const Mask always = at_most(highest, place.always);
        tie = either(tie, without(both(wanted, at_most(lowest, place.always)), always));
        entry = entry + where(without(below, always), broadcast(1));
      }
      wanted = below;
      if (__builtin_expect(any(tie), 0)) {
        judge_ties(source, ordinal, word, tie);
        wanted = without(wanted, tie);
      }
    }
    end_ += compress(end_, wanted, entry);
  }

 private:
  template <class Source>
  __attribute__((noinline)) void judge_ties(const Source& source, uint32_t ordinal, Words word,
                                            Mask tie) {
    alignas(64) uint32_t words[kLanes];
    store(words, word);
    finish();
    for (uint32_t lanes = bits_of(tie); lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      judge_mark(chip_, source.query(lane), source.block(lane), ordinal, words[lane], found_);
    }
    end_ = found_.cell + found_.size;
  }

  uint64_t chip_;
  FoundCells& found_;
  uint32_t* end_;
};

template <bool kTwoThresholds>
class CellJudge {
 public:
  EDEN_INLINE CellJudge(const SparseQuery* queries, Collector& collector)
      : queries_(queries), collector_(collector) {}

  EDEN_INLINE Place place(const Blocks& blocks, size_t lane) const {
    Place place;
    place.base = load(blocks.base + lane);
    place.span = load(blocks.span + lane);
    place.entry = load(blocks.entry + lane);
    place.strong = load(blocks.strong + lane);
    place.always = kTwoThresholds ? load(blocks.always + lane) : place.strong;
    set_bits(place, bits_of_blocks(load(blocks.level + lane)));
    return place;
  }

  EDEN_INLINE void take(const Place& place, const Blocks& blocks, size_t lane, uint32_t ordinal,
                        Words word, Mask valid) {
    collector_.take<kTwoThresholds ? Cut::kTwo : Cut::kOne>(place, Source{blocks, queries_, lane},
                                                            ordinal, word, valid);
  }

  EDEN_INLINE void squeeze(Blocks& blocks, size_t lane, size_t to, Mask more) const {
    compress(blocks.base + to, more, load(blocks.base + lane));
    compress(blocks.span + to, more, load(blocks.span + lane));
    compress(blocks.entry + to, more, load(blocks.entry + lane));
    compress(blocks.strong + to, more, load(blocks.strong + lane));
    if (kTwoThresholds) compress(blocks.always + to, more, load(blocks.always + lane));
  }

 private:
  struct Source {
    const Blocks& blocks;
    const SparseQuery* queries;
    size_t first;
    const SparseQuery& query(int lane) const {
      return queries[blocks.query[first + static_cast<size_t>(lane)]];
    }
    uint64_t block(int lane) const { return blocks.index(first + static_cast<size_t>(lane)); }
  };

  const SparseQuery* queries_;
  Collector& collector_;
};

template <bool kTwoThresholds>
__attribute__((noinline)) void find_in_blocks(uint64_t chip, const Keys& keys,
                                              const SparseQuery* queries, Blocks& blocks,
                                              FoundCells& found) {
  reserve(found, blocks.size * kPoissonTableSize + kStep);
  Collector collector(chip, found);
  CellJudge<kTwoThresholds> judge(queries, collector);
  draw_blocks(keys, blocks, judge);
  collector.finish();
}

EDEN_LANES void find_in_blocks(uint64_t chip, const Keys& keys, const SparseQuery* queries,
                               Blocks& blocks, FoundCells& found) {
  if (blocks.size == 0) return;
  if (blocks.two_thresholds) {
    find_in_blocks<true>(chip, keys, queries, blocks, found);
  } else {
    find_in_blocks<false>(chip, keys, queries, blocks, found);
  }
  blocks.two_thresholds = false;
}

// Consecutive blocks of one query, at most kBatch of them, whose numbers agree in their high half.
struct Run {
  const SparseQuery& query;
  uint64_t first_block;
  size_t blocks;
  uint32_t base, span, entry, strong, always;  // as in Place, of the first block
};

struct RunSource {
  const Run& run;
  Words index;
  const SparseQuery& query(int) const { return run.query; }
  uint64_t block(int lane) const {
    alignas(64) uint32_t lanes[kLanes];
    store(lanes, index);
    return run.first_block + lanes[lane];
  }
};

// As draw_blocks, where the lanes share all but the block's number, so that only that and the count
// are carried from draw to draw.
template <Cut kCut>
__attribute__((noinline)) void find_in_run(uint64_t chip, const Keys& keys, const Run& run,
                                           FoundCells& found) {
  constexpr int kCountShift = 16;
  static_assert(kBatch <= size_t{1} << kCountShift);
  reserve(found, run.blocks * kPoissonTableSize + kStep);
  Collector collector(chip, found);
  const uint32_t low = low_half(run.first_block), high = high_half(run.first_block);
  const uint32_t last_word =
      counter_word(Stream::kSparseMark, static_cast<uint32_t>(run.query.level));
  Place common;
  common.base = broadcast(run.base);
  common.span = broadcast(run.span);
  common.entry = broadcast(run.entry);
  common.strong = broadcast(run.strong);
  common.always = broadcast(run.always);
  set_bits(common, broadcast(static_cast<uint32_t>(bits_of_block(run.query.level))));
  alignas(64) uint32_t packed[kBatch + kStep];
  for_each_step(run.blocks, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
    Words index[sets.kNumber], counter[sets.kNumber];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      index[set] = lane_numbers() + static_cast<uint32_t>(at + set * kLanes);
      counter[set] = index[set] + low;
    }
    Numbers<sets.kNumber> numbers;
    draw_lanes(keys, counter, high, 0, last_word, numbers);
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      const Words count = count_marks(numbers.word[set], lanes_before(lane, run.blocks));
      store(packed + lane, index[set] | (count << kCountShift));
      Place place = common;
      place.base = common.base + shift_left(index[set], common.bits);
      EDEN_UNROLL(2)
      for (uint32_t i = 0; i < kMarksInFirstDraw; ++i) {
        collector.take<kCut>(place, RunSource{run, index[set]}, i,
                             numbers.word[set][kMarksPerDraw - kMarksInFirstDraw + i],
                             less(broadcast(i), count));
      }
    }
  });
  size_t size = run.blocks;
  for (uint32_t which = 1; size != 0; ++which) {
    const uint32_t ordinal = first_ordinal(which);
    size_t left = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Words both_parts[sets.kNumber], index[sets.kNumber], counter[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        both_parts[set] = load(packed + at + set * kLanes);
        index[set] = both_parts[set] & ((1u << kCountShift) - 1);
        counter[set] = index[set] + low;
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high, which, last_word, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const Words count =
            where(lanes_before(at + set * kLanes, size), both_parts[set] >> kCountShift);
        Place place = common;
        place.base = common.base + shift_left(index[set], common.bits);
        EDEN_UNROLL(4)
        for (uint32_t i = 0; i < kMarksPerDraw; ++i) {
          collector.take<kCut>(place, RunSource{run, index[set]}, ordinal + i, numbers.word[set][i],
                               less(broadcast(ordinal + i), count));
        }
        const Mask more = less(broadcast(ordinal + kMarksPerDraw), count);
        left += compress(packed + left, more, both_parts[set]);
      }
    });
    size = left;
  }
  collector.finish();
}

void find_sparse(uint64_t chip, const SparseQuery* queries, size_t count, FoundCells& found) {
  // From so many blocks on a query is worth a run of its own.
  constexpr size_t kRunBlocks = 2 * kStep;
  const Keys keys = make_keys(chip);
  Blocks blocks;
  for (size_t i = 0; i < count; ++i) {
    const SparseQuery& query = queries[i];
    const Limit strong = limit_in_level(query.strong, query.level);
    if (!strong.some || query.low >= query.high || query.blocks == 0) continue;
    const Limit always = limit_in_level(query.always, query.level);
    const uint32_t flag = always.some ? 0 : 1;
    const uint32_t stays = always.some ? always.largest : kWholeOctave;
    const bool two = always.some && always.largest != strong.largest;
    const int bits = bits_of_block(query.level);
    // The blocks that hold wanted cells.
    uint64_t block = (query.origin + query.low) >> bits;
    uint64_t last = (query.origin + query.high - 1) >> bits;
    if (block < query.first_block) block = query.first_block;
    if (last > query.first_block + query.blocks - 1) last = query.first_block + query.blocks - 1;
    while (block <= last) {
      uint32_t low = query.low, high = query.high;
      size_t more = static_cast<size_t>(last - block) + 1;
      if (bits == 32) {
        // Such a block is as long as offsets go modulo 2^32, so a window is cut at its ends.
        more = 1;
        const uint64_t begin = block << bits;
        if (begin > query.origin + low) low = static_cast<uint32_t>(begin - query.origin);
        if ((query.origin + high - 1) >> bits != block) {
          high = low_half(begin - query.origin);
        }
      }
      const uint32_t base = low_half((block << bits) - query.origin) - low;
      const uint32_t entry = 2 * low + flag;
      const uint64_t same_high = (uint64_t{1} << 32) - low_half(block);
      if (more >= kRunBlocks) {
        more -= more % kLanes;
        if (more > kBatch) more = kBatch;
        if (more > same_high) more = static_cast<size_t>(same_high);
        const Run run{query, block, more, base, high - low, entry, strong.largest, stays};
        if (two) {
          find_in_run<Cut::kTwo>(chip, keys, run, found);
        } else if (strong.largest != kWholeOctave) {
          find_in_run<Cut::kOne>(chip, keys, run, found);
        } else {
          find_in_run<Cut::kNone>(chip, keys, run, found);
        }
      } else {
        if (blocks.size == kBatch) find_in_blocks(chip, keys, queries, blocks, found);
        if (more > kBatch - blocks.size) more = kBatch - blocks.size;
        append_indices(blocks, static_cast<uint32_t>(i), query.level, block, more);
        const size_t size = blocks.size;
        for (size_t at = 0; at < more; at += kLanes) {
          const Words number = lane_numbers() + static_cast<uint32_t>(at);
          store(blocks.base + size + at,
                base + shift_left(number, broadcast(static_cast<uint32_t>(bits))));
        }
        append(blocks.span + size, more, high - low);
        append(blocks.entry + size, more, entry);
        append(blocks.strong + size, more, strong.largest);
        append(blocks.always + size, more, stays);
        blocks.two_thresholds |= two;
        blocks.size += more;
      }
      block += more;
    }
  }
  find_in_blocks(chip, keys, queries, blocks, found);
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
