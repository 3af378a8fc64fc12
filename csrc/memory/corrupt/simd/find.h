// Finding cells, written in lanes: included by one translation unit for each instruction set, after
// its lanes.
#pragma once

#include "base/random_layout.h"
#include "memory/lines.h"
#include "memory/region.h"
#include "memory/weak_cells.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

// ---- Philox4x32-10, as in philox.h, of every lane at once ----

constexpr int kRounds = 10;
constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;

struct Keys {
  uint32_t first[kRounds], second[kRounds];
};

EDEN_LANES Keys make_keys(uint64_t chip) {
  Keys keys;
  uint32_t first = static_cast<uint32_t>(chip), second = static_cast<uint32_t>(chip >> 32);
  for (int round = 0; round < kRounds; ++round) {
    keys.first[round] = first;
    keys.second[round] = second;
    first += 0x9E3779B9u;
    second += 0xBB67AE85u;
  }
  return keys;
}

// kSets independent sets of lanes at a time hide one another's latency.
template <int kSets>
struct Numbers {
  Words word[kSets][4];
};

template <int kSets, int kFirstRound>
EDEN_LANES void finish_rounds(const Keys& keys, Wide (&state)[kSets][4], Numbers<kSets>& numbers) {
  EDEN_UNROLL(10)
  for (int round = kFirstRound; round < kRounds; ++round) {
    EDEN_UNROLL(2)
    for (int set = 0; set < kSets; ++set) {
      Wide(&x)[4] = state[set];
      Wide high0, low0, high1, low1;
      multiply(x[0], kMultiplier0, high0, low0);
      multiply(x[2], kMultiplier1, high1, low1);
      x[0] = exclusive_or(high1, x[1], keys.first[round]);
      x[1] = low1;
      x[2] = exclusive_or(high0, x[3], keys.second[round]);
      x[3] = low0;
    }
  }
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    EDEN_UNROLL(4)
    for (int i = 0; i < 4; ++i) numbers.word[set][i] = narrow(state[set][i]);
  }
}

struct Counter {
  Words word[4];
};

template <int kSets>
EDEN_LANES void draw_lanes(const Keys& keys, const Counter (&counter)[kSets],
                           Numbers<kSets>& numbers) {
  Wide state[kSets][4];
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    EDEN_UNROLL(4)
    for (int i = 0; i < 4; ++i) state[set][i] = widen(counter[set].word[i]);
  }
  finish_rounds<kSets, 0>(keys, state, numbers);
}

// The same where only the counters' first words differ: most of the first two rounds is then done
// once for all lanes.
template <int kSets>
EDEN_LANES void draw_lanes(const Keys& keys, const Words (&first)[kSets], uint32_t second,
                           uint32_t third, uint32_t fourth, Numbers<kSets>& numbers) {
  const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * third;
  const uint32_t after0 = static_cast<uint32_t>(product1 >> 32) ^ second ^ keys.first[0];
  const uint32_t after1 = static_cast<uint32_t>(product1);
  const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * after0;
  const uint32_t high0 = static_cast<uint32_t>(product0 >> 32);
  const Wide low0 = widen(broadcast(static_cast<uint32_t>(product0)));
  Wide state[kSets][4];
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    Wide high, low, low1;
    multiply(widen(first[set]), kMultiplier0, high, low);
    multiply(exclusive_or(high, fourth ^ keys.second[0]), kMultiplier1, high, low1);
    state[set][0] = exclusive_or(high, after1 ^ keys.first[1]);
    state[set][1] = low1;
    state[set][2] = exclusive_or(low, high0 ^ keys.second[1]);
    state[set][3] = low0;
  }
  finish_rounds<kSets, 2>(keys, state, numbers);
}

constexpr uint32_t stream_word(Stream stream, uint32_t detail) {
  return (static_cast<uint32_t>(stream) << kStreamShift) | detail;
}

EDEN_LANES uint32_t low_half(uint64_t number) { return static_cast<uint32_t>(number); }
EDEN_LANES uint32_t high_half(uint64_t number) { return static_cast<uint32_t>(number >> 32); }

// Work is done on two sets of lanes at a time, and lists have room for as many more words as the
// last store may write beyond their end.
constexpr size_t kSetsAtOnce = 2;
constexpr size_t kStep = kSetsAtOnce * kLanes;
constexpr size_t kBatch = 512;
constexpr uint32_t kWholeOctave = 0xffffffffu;
static_assert(kBatch % kStep == 0);

// Lanes [at, end) of a batch.
EDEN_LANES Mask lanes_before(size_t at, size_t end) {
  const size_t left = at < end ? end - at : 0;
  return less(lane_numbers(), broadcast(static_cast<uint32_t>(left < kLanes ? left : kLanes)));
}

// ---- Marks ----

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

// Calls step(number of sets, first lane) over `size` lanes; the number is a type, so that a step's
// loops over sets are unrolled.
template <int kSets>
struct Sets {
  static constexpr int kNumber = kSets;
};
template <class Step>
EDEN_LANES void for_each_step(size_t size, Step&& step) {
  size_t at = 0;
  for (; at + kLanes < size; at += kStep) step(Sets<kSetsAtOnce>(), at);
  if (at < size) step(Sets<1>(), at);
}

template <int kSets>
EDEN_LANES void draw_marks_of(const Keys& keys, const Blocks& blocks, size_t at, uint32_t which,
                              Numbers<kSets>& numbers) {
  Counter counter[kSets];
  EDEN_UNROLL(2)
  for (size_t set = 0; set < kSets; ++set) {
    const size_t lane = at + set * kLanes;
    counter[set] = {
        {load(blocks.low_index + lane), load(blocks.high_index + lane), broadcast(which),
         bit_or(load(blocks.level + lane), broadcast(stream_word(Stream::kSparseMark, 0)))}};
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
    const Words number = add(lane_numbers(), broadcast(static_cast<uint32_t>(at)));
    const Words index = add(number, broadcast(low));
    store(blocks.low_index + size + at, index);
    // Beyond a multiple of 2^32 the sum is less than what was added to.
    store(blocks.high_index + size + at,
          add(broadcast(high), where(less(index, broadcast(low)), broadcast(1))));
  }
  append(blocks.level + size, count, static_cast<uint32_t>(level));
  append(blocks.query + size, count, query);
}

// ---- Cells ----

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
  Words base;  // offset of the block's first cell from the lowest wanted one, modulo 2^32
  Words span;  // number of wanted cells from that one on
  Words
      entry;  // the lowest wanted cell's entry; odd where all cells flip for the strong value alone
  Words bits, shift, unknown;
  Words strong;  // largest position that flips the cell
  Words always;  // largest position for which the entry stays as it is
};

// block_bits of every lane.
EDEN_LANES Words bits_of_blocks(Words level) {
  return add(add(level, broadcast(kMarksPerBlockLog2)),
             where(less(level, broadcast(kLastLevel)), broadcast(1)));
}

EDEN_LANES void set_bits(Place& place, Words bits) {
  place.bits = bits;
  place.shift = sub(broadcast(32), bits);
  place.unknown = sub(shift_left(broadcast(1), bits), broadcast(1));
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
    const Words cell = add(shift_right(word, place.shift), place.base);
    Words entry = add(add(cell, cell), place.entry);
    Mask wanted = both(valid, less(cell, place.span));
    if (kCut != Cut::kNone) {
      const Words lowest = shift_left(word, place.bits), highest = bit_or(lowest, place.unknown);
      const Mask below = both(wanted, at_most(highest, place.strong));
      // Where the bits not drawn yet decide.
      Mask tie = without(both(wanted, at_most(lowest, place.strong)), below);
      if (kCut == Cut::kTwo) {
        const Mask always = at_most(highest, place.always);
        tie = either(tie, without(both(wanted, at_most(lowest, place.always)), always));
        entry = add(entry, where(without(below, always), broadcast(1)));
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
      stream_word(Stream::kSparseMark, static_cast<uint32_t>(run.query.level));
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
      index[set] = add(lane_numbers(), broadcast(static_cast<uint32_t>(at + set * kLanes)));
      counter[set] = add(index[set], broadcast(low));
    }
    Numbers<sets.kNumber> numbers;
    draw_lanes(keys, counter, high, 0, last_word, numbers);
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      const Words count = count_marks(numbers.word[set], lanes_before(lane, run.blocks));
      store(packed + lane, bit_or(index[set], shift_left<kCountShift>(count)));
      Place place = common;
      place.base = add(common.base, shift_left(index[set], common.bits));
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
        index[set] = bit_and(both_parts[set], broadcast((1u << kCountShift) - 1));
        counter[set] = add(index[set], broadcast(low));
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high, which, last_word, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const Words count =
            where(lanes_before(at + set * kLanes, size), shift_right<kCountShift>(both_parts[set]));
        Place place = common;
        place.base = add(common.base, shift_left(index[set], common.bits));
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
          const Words number = add(lane_numbers(), broadcast(static_cast<uint32_t>(at)));
          store(blocks.base + size + at,
                add(broadcast(base), shift_left(number, broadcast(static_cast<uint32_t>(bits)))));
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

// ---- Lines ----

// The line of an offset below 2^31 from the first cell: a division by multiplication with the
// rounded-up inverse, exact for numbers of groups below 2^26.
class LineOfOffset {
 public:
  EDEN_INLINE explicit LineOfOffset(uint32_t length) {
    const uint32_t groups = length >> kGroupBits;
    const int log2 = 31 - __builtin_clz(groups);
    shift_ = static_cast<uint32_t>(log2);
    inverse_ = static_cast<uint32_t>(((uint64_t{1} << (31 + log2)) + groups - 1) / groups);
  }
  EDEN_INLINE Words operator()(Words offset) const {
    Wide high, low;
    multiply(widen(shift_left<1>(shift_right<kGroupBits>(offset))), inverse_, high, low);
    return shift_right(narrow(high), broadcast(shift_));
  }

 private:
  uint32_t shift_, inverse_;
};

// Judges marks by the thresholds of their lines. Of a block's fields, `base` is the offset of its
// first cell from the lowest wanted one, `span` the number of wanted cells from that one on, and
// `entry` the lowest one's offset.
class LineJudge {
 public:
  struct LinePlace {
    Words base, span, lowest, octave;
    Words bits, shift, unknown;
  };

  EDEN_INLINE LineJudge(uint64_t chip, const Lines& lines, FoundCells& found)
      : chip_(chip),
        lines_(lines),
        line_of_(lines.length),
        found_(found),
        end_(found.cell + found.size) {}
  EDEN_INLINE void finish() { found_.size = static_cast<size_t>(end_ - found_.cell); }

  EDEN_INLINE LinePlace place(const Blocks& blocks, size_t lane) const {
    const Words level = load(blocks.level + lane), bits = bits_of_blocks(level);
    return {load(blocks.base + lane),
            load(blocks.span + lane),
            load(blocks.entry + lane),
            shift_left<32 - kLineKeyShift>(sub(broadcast(kLastLevel), level)),
            bits,
            sub(broadcast(32), bits),
            sub(shift_left(broadcast(1), bits), broadcast(1))};
  }

  EDEN_INLINE void take(const LinePlace& place, const Blocks& blocks, size_t lane, uint32_t ordinal,
                        Words word, Mask valid) {
    const Words cell = add(shift_right(word, place.shift), place.base);
    const Mask inside = both(valid, less(cell, place.span));
    const Words offset = where(inside, add(cell, place.lowest));
    const Words line = line_of_(offset);
    const Words key = gather(lines_.key, line);
    const Words nearest = shift_left(word, place.bits);
    const Words highest = shift_right<kLineKeyShift>(bit_or(nearest, place.unknown));
    const Words lowest = shift_right<kLineKeyShift>(nearest);
    const Mask below = both(inside, less(bit_or(highest, place.octave), key));
    // Where the bits not drawn yet, or those that a key has not, decide.
    const Mask tie = without(both(inside, at_most(bit_or(lowest, place.octave), key)), below);
    if (__builtin_expect(any(tie), 0)) judge_ties(blocks, lane, ordinal, word, tie);
    Words at = sub(offset, broadcast(lines_.lead));
    if (lines_.across) {
      const Words row = sub(at, times(line, broadcast(lines_.length)));
      at = add(shift_left(row, broadcast(static_cast<uint32_t>(lines_.row_shift))), line);
    }
    const Mask wanted =
        both(below, less(sub(at, broadcast(lines_.begin)), broadcast(lines_.end - lines_.begin)));
    end_ += compress(end_, wanted, add(at, at));
  }

  EDEN_INLINE void squeeze(Blocks& blocks, size_t lane, size_t to, Mask more) const {
    compress(blocks.base + to, more, load(blocks.base + lane));
    compress(blocks.span + to, more, load(blocks.span + lane));
    compress(blocks.entry + to, more, load(blocks.entry + lane));
  }

 private:
  __attribute__((noinline)) void judge_ties(const Blocks& blocks, size_t lane, uint32_t ordinal,
                                            Words word, Mask tie) {
    alignas(64) uint32_t words[kLanes];
    store(words, word);
    finish();
    for (uint32_t lanes = bits_of(tie); lanes != 0; lanes &= lanes - 1) {
      const auto i = static_cast<size_t>(__builtin_ctz(lanes));
      const MarkBlock block{blocks.index(lane + i), static_cast<int32_t>(blocks.level[lane + i])};
      judge_line_mark(chip_, lines_, block, ordinal, words[i], found_);
    }
    end_ = found_.cell + found_.size;
  }

  uint64_t chip_;
  const Lines& lines_;
  LineOfOffset line_of_;
  FoundCells& found_;
  uint32_t* end_;
};

void find_in_lines(uint64_t chip, const Lines& lines, const MarkBlock* blocks_of, size_t count,
                   FoundCells& found) {
  const Keys keys = make_keys(chip);
  const uint32_t cells = lines.count * lines.length;
  Blocks blocks;
  for (size_t i = 0; i < count; ++i) {
    const int bits = bits_of_block(blocks_of[i].level);
    // Modulo 2^64 and 2^32: a block can begin before the first cell.
    const uint64_t base = (blocks_of[i].index << bits) - lines.first_cell;
    uint32_t low = 0, high = cells;
    if (bits == 32) {
      // Such a block is as long as offsets go modulo 2^32, so the wanted cells are cut at its ends.
      if (base < cells) low = low_half(base);
      if (base + (uint64_t{1} << 32) < cells) high = low_half(base);
    }
    const size_t at = blocks.size++;
    blocks.low_index[at] = low_half(blocks_of[i].index);
    blocks.high_index[at] = high_half(blocks_of[i].index);
    blocks.level[at] = static_cast<uint32_t>(blocks_of[i].level);
    blocks.base[at] = low_half(base) - low;
    blocks.span[at] = high - low;
    blocks.entry[at] = low;
    if (blocks.size == kBatch || i + 1 == count) {
      reserve(found, blocks.size * kPoissonTableSize + kStep);
      LineJudge judge(chip, lines, found);
      draw_blocks(keys, blocks, judge);
      judge.finish();
    }
  }
}

size_t find_weak_lines(uint64_t chip, uint64_t first_line, uint32_t count, uint32_t most,
                       uint32_t* line, uint32_t* mark) {
  constexpr uint32_t kLines = static_cast<uint32_t>(kLinesInDraw);
  const Keys keys = make_keys(chip);
  size_t size = 0;
  for (uint64_t at = first_line / kLines; at * kLines < first_line + count; at += kLanes) {
    const Words low = add(lane_numbers(), broadcast(low_half(at)));
    // Beyond a multiple of 2^32 the sum is less than what was added to.
    const Words high =
        add(broadcast(high_half(at)), where(less(low, broadcast(low_half(at))), broadcast(1)));
    const Counter counter[1] = {
        {{low, high, broadcast(0), broadcast(stream_word(Stream::kLine, 0))}}};
    Numbers<1> numbers;
    draw_lanes(keys, counter, numbers);
    alignas(64) uint32_t words[kLines][kLanes];
    uint32_t weak[kLines], lanes = 0;
    EDEN_UNROLL(4)
    for (uint32_t i = 0; i < kLines; ++i) {
      store(words[i], numbers.word[0][i]);
      weak[i] = bits_of(at_most(numbers.word[0][i], broadcast(most)));
      lanes |= weak[i];
    }
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      for (uint32_t i = 0; i < kLines; ++i) {
        const uint64_t offset = (at + static_cast<uint64_t>(lane)) * kLines + i - first_line;
        if (((weak[i] >> lane) & 1) == 0 || offset >= count) continue;
        line[size] = static_cast<uint32_t>(offset);
        mark[size++] = words[i][lane];
      }
    }
  }
  return size;
}

// ---- Digits ----

// A comparison of uniform numbers with a probability, four binary digits at a time.
class Digits {
 public:
  EDEN_INLINE explicit Digits(uint64_t probability) {
    for (int i = 0; i < kFractionDigits; ++i) {
      digit_[i] = 0u - static_cast<uint32_t>((probability << i) >> (kFractionDigits - 1));
    }
  }

  // By the digits of draw `which`: the bits that are less, of those that were open.
  EDEN_INLINE Words compare(const Words (&digits)[4], uint32_t which, Words& open) const {
    Words is_less = broadcast(0), equal = open;
    EDEN_UNROLL(4)
    for (int i = kDigitsInDraw - 1; i >= 0; --i) {
      const Words wanted = broadcast(digit_[kDigitsInDraw * which + static_cast<uint32_t>(i)]);
      is_less = digit_less(is_less, digits[i], wanted);
      equal = digit_equal(equal, digits[i], wanted);
    }
    is_less = bit_and(is_less, open);
    open = equal;
    return is_less;
  }

 private:
  alignas(64) uint32_t digit_[kFractionDigits];  // all bits of each alike
};

constexpr uint32_t kDraws = kFractionDigits / kDigitsInDraw;
constexpr uint32_t kFailureDigitsShift = 24;

EDEN_LANES uint32_t failure_word(uint64_t access, uint32_t which) {
  const uint32_t access_high = high_half(access) & ((1u << kFailureDigitsShift) - 1u);
  return stream_word(Stream::kFailure, (which << kFailureDigitsShift) | access_high);
}

// Groups of which some cells are still open.
struct OpenGroups {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t index[kRoom];
  alignas(64) uint32_t always[kRoom];
  alignas(64) uint32_t strong[kRoom];
  size_t size = 0;

  template <bool kTwo>
  EDEN_INLINE void append(Words at_index, Words open_always, Words open_strong, Mask valid) {
    const Words open = kTwo ? bit_or(open_always, open_strong) : open_always;
    const Mask mask = both(valid, common_bits(open, open));
    compress(always + size, mask, open_always);
    if (kTwo) compress(strong + size, mask, open_strong);
    size += compress(index + size, mask, at_index);
  }
};

// Joins the bits of lanes [at, end) of a list.
EDEN_LANES void join(uint32_t* words, const uint32_t* index, Words bits, size_t at, size_t end) {
  alignas(64) uint32_t lanes[kLanes];
  store(lanes, bits);
  const size_t count = end - at < kLanes ? end - at : kLanes;
  EDEN_UNROLL(1)
  for (size_t i = 0; i < count; ++i) words[index[i]] |= lanes[i];
}

// Draws until no group is open, from draw `which` on. third(which) and fourth(which) are the last
// words of the counter, whose first is first + the group's index.
template <bool kTwo, class Counters>
EDEN_LANES void settle(const Keys& keys, OpenGroups& groups, uint64_t first, uint32_t which,
                       const Digits& always, const Digits& strong, uint32_t* always_words,
                       uint32_t* strong_words, Counters&& counters) {
  for (; groups.size != 0 && which < kDraws; ++which) {
    const size_t size = groups.size;
    groups.size = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Words at_index[sets.kNumber], counter[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        at_index[set] = load(groups.index + at + set * kLanes);
        counter[set] = add(at_index[set], broadcast(low_half(first)));
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high_half(first), counters.third(which), counters.fourth(which),
                 numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        alignas(64) uint32_t index[kLanes];
        store(index, at_index[set]);
        Words open_always = load(groups.always + lane), open_strong = broadcast(0);
        const Words found = always.compare(numbers.word[set], which, open_always);
        join(always_words, index, found, lane, size);
        if (kTwo) {
          open_strong = load(groups.strong + lane);
          const Words strong_found = strong.compare(numbers.word[set], which, open_strong);
          join(strong_words, index, strong_found, lane, size);
        }
        groups.append<kTwo>(at_index[set], open_always, open_strong, lanes_before(lane, size));
      }
    });
  }
  groups.size = 0;
}

struct DenseCounters {
  EDEN_INLINE uint32_t third(uint32_t which) const { return which; }
  EDEN_INLINE uint32_t fourth(uint32_t) const { return stream_word(Stream::kDenseMark, 0); }
};

struct FailureCounters {
  uint64_t access;
  EDEN_INLINE uint32_t third(uint32_t) const { return low_half(access); }
  EDEN_INLINE uint32_t fourth(uint32_t which) const { return failure_word(access, which); }
};

// What a probability of 0 or 1 makes of its digits.
struct Extremes {
  uint32_t wanted, fixed;
  EDEN_INLINE Extremes(uint64_t probability)
      : wanted(probability == 0 || probability == kAlways ? 0 : ~0u),
        fixed(probability == kAlways ? ~0u : 0) {}
};

// Groups whose numbers agree in their high half, at most kBatch of them, into arrays with room for
// whole sets of lanes.
template <bool kTwo>
EDEN_LANES void find_groups(const Keys& keys, uint64_t first, size_t count,
                            uint64_t always_probability, uint64_t strong_probability,
                            OpenGroups& open, uint32_t* always, uint32_t* strong) {
  constexpr uint32_t kUnconditional = 2;
  const Digits always_digits(always_probability), strong_digits(strong_probability);
  const Extremes always_extremes(always_probability), strong_extremes(strong_probability);
  const DenseCounters counters;
  for_each_step(count, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
    Words index[sets.kNumber], counter[sets.kNumber];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      index[set] = add(lane_numbers(), broadcast(static_cast<uint32_t>(at + set * kLanes)));
      counter[set] = add(index[set], broadcast(low_half(first)));
    }
    Words found_always[sets.kNumber], found_strong[sets.kNumber];
    Words open_always[sets.kNumber], open_strong[sets.kNumber];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      found_always[set] = broadcast(always_extremes.fixed);
      open_always[set] = broadcast(always_extremes.wanted);
      found_strong[set] = broadcast(strong_extremes.fixed);
      open_strong[set] = broadcast(strong_extremes.wanted);
    }
    // One after the other: more than two sets of lanes at a time do not fit in the registers.
    EDEN_UNROLL(1)
    for (uint32_t which = 0; which < kUnconditional; ++which) {
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high_half(first), counters.third(which), counters.fourth(which),
                 numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const Words(&digits)[4] = numbers.word[set];
        found_always[set] =
            bit_or(found_always[set], always_digits.compare(digits, which, open_always[set]));
        if (kTwo) {
          found_strong[set] =
              bit_or(found_strong[set], strong_digits.compare(digits, which, open_strong[set]));
        }
      }
    }
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      store(always + lane, found_always[set]);
      if (kTwo) store(strong + lane, found_strong[set]);
      open.append<kTwo>(index[set], open_always[set], open_strong[set], lanes_before(lane, count));
    }
  });
  settle<kTwo>(keys, open, first, kUnconditional, always_digits, strong_digits, always, strong,
               counters);
}

// Leaves of the weak cells those that fail.
template <bool kTwo>
EDEN_LANES void keep_failing_groups(const Keys& keys, uint64_t first, size_t count, uint64_t access,
                                    uint64_t failure, OpenGroups& open, uint32_t* always,
                                    uint32_t* strong, uint32_t* fails) {
  const Extremes extremes(failure);
  for (size_t at = 0; at < count; at += kLanes) {
    Words weak = load(always + at);
    if (kTwo) weak = bit_or(weak, load(strong + at));
    store(fails + at, broadcast(extremes.fixed));
    open.append<false>(add(lane_numbers(), broadcast(static_cast<uint32_t>(at))),
                       bit_and(weak, broadcast(extremes.wanted)), weak, lanes_before(at, count));
  }
  settle<false>(keys, open, first, 0, Digits(failure), Digits(0), fails, nullptr,
                FailureCounters{access});
  for (size_t at = 0; at < count; at += kLanes) {
    const Words kept = load(fails + at);
    store(always + at, bit_and(load(always + at), kept));
    if (kTwo) store(strong + at, bit_and(load(strong + at), kept));
  }
}

template <bool kTwo>
EDEN_LANES void find_dense_query(const Keys& keys, uint64_t access, uint64_t failure,
                                 const DenseQuery& query, uint32_t* always, uint32_t* strong) {
  constexpr size_t kRoom = kBatch + kLanes;
  alignas(64) uint32_t always_words[kRoom], strong_words[kTwo ? kRoom : 1], fails[kRoom];
  OpenGroups open;
  for (size_t at = 0; at < query.groups;) {
    const uint64_t first = query.first_group + at;
    size_t count = query.groups - at;
    if (count > kBatch) count = kBatch;
    const uint64_t same_high = (uint64_t{1} << 32) - low_half(first);
    if (count > same_high) count = static_cast<size_t>(same_high);
    find_groups<kTwo>(keys, first, count, query.always, query.strong, open, always_words,
                      strong_words);
    if (failure != kAlways) {
      keep_failing_groups<kTwo>(keys, first, count, access, failure, open, always_words,
                                strong_words, fails);
    }
    __builtin_memcpy(always + query.place + at, always_words, count * sizeof(uint32_t));
    if (strong != nullptr) {
      __builtin_memcpy(strong + query.place + at, kTwo ? strong_words : always_words,
                       count * sizeof(uint32_t));
    }
    at += count;
  }
}

void find_dense(uint64_t chip, uint64_t access, uint64_t failure, const DenseQuery* queries,
                size_t count, uint32_t* always, uint32_t* strong) {
  const Keys keys = make_keys(chip);
  for (size_t i = 0; i < count; ++i) {
    if (strong == nullptr || queries[i].always == queries[i].strong) {
      find_dense_query<false>(keys, access, failure, queries[i], always, strong);
    } else {
      find_dense_query<true>(keys, access, failure, queries[i], always, strong);
    }
  }
}

// Groups of lines, each with its line's probability, of which some cells are open.
struct OpenLineGroups {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t slot[kRoom];
  alignas(64) uint32_t low_index[kRoom];
  alignas(64) uint32_t high_index[kRoom];
  // The probability's digits that are still to be compared, and the cells that are open.
  alignas(64) uint32_t high[kRoom];
  alignas(64) uint32_t low[kRoom];
  alignas(64) uint32_t open[kRoom];
  size_t size = 0;
};

// Draws until no group is open; joins the bits found with `words`, by slot.
EDEN_LANES void settle_line_groups(const Keys& keys, OpenLineGroups& groups, uint32_t* words) {
  for (uint32_t which = 0; groups.size != 0 && which < kDraws; ++which) {
    const size_t size = groups.size;
    groups.size = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Counter counter[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        counter[set] = {{load(groups.low_index + lane), load(groups.high_index + lane),
                         broadcast(which), broadcast(stream_word(Stream::kDenseMark, 0))}};
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        const Words high = load(groups.high + lane), low = load(groups.low + lane);
        const Words open = load(groups.open + lane);
        Words is_less = broadcast(0), equal = open;
        const auto compare = [&]<int kDigit>() EDEN_INLINE_LAMBDA {
          const Words digit = shift_right<31>(shift_left<kDigit>(high));
          const Words wanted = sub(broadcast(0), digit);
          is_less = digit_less(is_less, numbers.word[set][kDigit], wanted);
          equal = digit_equal(equal, numbers.word[set][kDigit], wanted);
        };
        static_assert(kDigitsInDraw == 4);
        compare.template operator()<3>();
        compare.template operator()<2>();
        compare.template operator()<1>();
        compare.template operator()<0>();
        const Words slot = load(groups.slot + lane);
        alignas(64) uint32_t slots[kLanes];
        store(slots, slot);
        join(words, slots, bit_and(is_less, open), lane, size);
        const Mask more = both(lanes_before(lane, size), common_bits(equal, equal));
        const size_t to = groups.size;
        compress(groups.slot + to, more, slot);
        compress(groups.low_index + to, more, counter[set].word[0]);
        compress(groups.high_index + to, more, counter[set].word[1]);
        compress(groups.high + to, more,
                 bit_or(shift_left<kDigitsInDraw>(high), shift_right<32 - kDigitsInDraw>(low)));
        compress(groups.low + to, more, shift_left<kDigitsInDraw>(low));
        groups.size += compress(groups.open + to, more, equal);
      }
    });
  }
  groups.size = 0;
}

void find_dense_in_lines(uint64_t chip, const Lines& lines, const DenseLine* dense, size_t count,
                         FoundCells& found) {
  const Keys keys = make_keys(chip);
  // The groups of a line that hold wanted cells.
  const uint32_t last_row = lines.lead + ((lines.end - 1) >> lines.row_shift);
  const uint32_t first = lines.lead >> kGroupBits, last = last_row >> kGroupBits;
  OpenLineGroups groups;
  alignas(64) uint32_t words[kBatch], line[kBatch], row[kBatch];
  size_t slots = 0;
  const auto find_batch = [&] {
    settle_line_groups(keys, groups, words);
    reserve(found, slots * kGroupCells + kStep);
    uint32_t* end = found.cell + found.size;
    const Words row_shift = broadcast(static_cast<uint32_t>(lines.row_shift));
    for (size_t slot = 0; slot < slots; ++slot) {
      EDEN_UNROLL(8)
      for (uint32_t bit = 0; bit < kGroupCells; bit += kLanes) {
        const Words bits = add(lane_numbers(), broadcast(bit));
        const Mask weak = common_bits(broadcast(words[slot]), shift_left(broadcast(1), bits));
        const Words place =
            add(shift_left(add(bits, broadcast(row[slot])), row_shift), broadcast(line[slot]));
        const Mask wanted = both(
            weak, less(sub(place, broadcast(lines.begin)), broadcast(lines.end - lines.begin)));
        end += compress(end, wanted, add(place, place));
      }
    }
    found.size = static_cast<size_t>(end - found.cell);
    slots = 0;
  };
  for (size_t i = 0; i < count; ++i) {
    const uint64_t cell = lines.first_cell + uint64_t{dense[i].line} * lines.length;
    const bool all = dense[i].probability == kAlways;
    for (uint32_t group = first; group <= last; ++group) {
      const uint64_t index = (cell >> kGroupBits) + group;
      line[slots] = dense[i].line;
      row[slots] = (group << kGroupBits) - lines.lead;
      words[slots] = all ? ~0u : 0;
      const size_t at = groups.size;
      groups.slot[at] = static_cast<uint32_t>(slots);
      groups.low_index[at] = low_half(index);
      groups.high_index[at] = high_half(index);
      groups.high[at] = high_half(dense[i].probability);
      groups.low[at] = low_half(dense[i].probability);
      groups.open[at] = ~0u;
      if (!all) ++groups.size;
      if (++slots == kBatch) find_batch();
    }
  }
  find_batch();
}

void keep_failing(uint64_t chip, const Rows& rows, uint64_t access, uint64_t failure,
                  FoundCells& found) {
  if (failure == kAlways) return;
  if (failure == 0) {
    found.size = 0;
    return;
  }
  constexpr uint32_t kLargestOffset = 0x7fffffffu;
  const uint64_t first_group = rows.origin >> kGroupBits;
  if (((rows.origin + kLargestOffset) >> kGroupBits) >> 32 != first_group >> 32) {
    return keep_failing_one_by_one(chip, rows, access, failure, found);
  }
  const Keys keys = make_keys(chip);
  const Digits digits(failure);
  const FailureCounters counters{access};
  const Words lead = broadcast(low_half(rows.origin) & (kGroupCells - 1));
  const Words row_shift = broadcast(static_cast<uint32_t>(rows.row_shift));
  // From row to row places go on by less than cells do.
  const uint32_t skipped = low_half(rows.stride) - (1u << rows.row_shift);
  const Words place_in_group = broadcast(kGroupCells - 1);
  constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t open[kRoom], kept[kRoom];
  size_t total = 0;
  for (size_t begin = 0; begin < found.size; begin += kBatch) {
    const size_t end = found.size - begin < kBatch ? found.size : begin + kBatch;
    size_t left = end - begin, size_kept = 0;
    __builtin_memcpy(open, found.cell + begin, left * sizeof(uint32_t));
    for (uint32_t which = 0; left != 0 && which < kDraws; ++which) {
      const size_t size = left;
      left = 0;
      for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
        Words entry[sets.kNumber], cell[sets.kNumber], group[sets.kNumber];
        EDEN_UNROLL(2)
        for (size_t set = 0; set < sets.kNumber; ++set) {
          entry[set] = load(open + at + set * kLanes);
          const Words place = shift_right<1>(entry[set]);
          cell[set] =
              add(add(place, times(shift_right(place, row_shift), broadcast(skipped))), lead);
          group[set] = add(shift_right<kGroupBits>(cell[set]), broadcast(low_half(first_group)));
        }
        Numbers<sets.kNumber> numbers;
        draw_lanes(keys, group, high_half(first_group), counters.third(which),
                   counters.fourth(which), numbers);
        EDEN_UNROLL(2)
        for (size_t set = 0; set < sets.kNumber; ++set) {
          const Words bit = shift_left(broadcast(1), bit_and(cell[set], place_in_group));
          Words equal = bit;
          const Words is_less = digits.compare(numbers.word[set], which, equal);
          const Mask valid = lanes_before(at + set * kLanes, size);
          left += compress(open + left, both(valid, common_bits(equal, bit)), entry[set]);
          size_kept +=
              compress(kept + size_kept, both(valid, common_bits(is_less, bit)), entry[set]);
        }
      });
    }
    __builtin_memcpy(found.cell + total, kept, size_kept * sizeof(uint32_t));
    total += size_kept;
  }
  found.size = total;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE
