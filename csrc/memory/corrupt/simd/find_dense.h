// The dense part of weak cells, and which reads fail: the binary digits of the uniform numbers of
// 32 cells are compared with those of a probability, until every cell is decided.
#pragma once

#include "memory/corrupt/simd/random_lanes.h"
#include "memory/region.h"
#include "memory/weak_cells.h"

namespace eden::simd::EDEN_ISA {
namespace {

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
    is_less = is_less & open;
    open = equal;
    return is_less;
  }

 private:
  alignas(64) uint32_t digit_[kFractionDigits];  // all bits of each alike
};

constexpr uint32_t kDraws = kFractionDigits / kDigitsInDraw;

// Groups of which some cells are still open.
struct OpenGroups {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t index[kRoom];
  alignas(64) uint32_t always[kRoom];
  alignas(64) uint32_t strong[kRoom];
  size_t size = 0;

  template <bool kTwo>
  EDEN_INLINE void append(Words at_index, Words open_always, Words open_strong, Mask valid) {
    const Words open = kTwo ? open_always | open_strong : open_always;
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
        counter[set] = at_index[set] + low_half(first);
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
  EDEN_INLINE uint32_t fourth(uint32_t) const { return counter_word(Stream::kDenseMark, 0); }
};

struct FailureCounters {
  uint64_t access;
  EDEN_INLINE uint32_t third(uint32_t) const { return low_half(access); }
  EDEN_INLINE uint32_t fourth(uint32_t which) const {
    return counter_word(Stream::kFailure, failure_detail(access, which));
  }
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
      index[set] = lane_numbers() + static_cast<uint32_t>(at + set * kLanes);
      counter[set] = index[set] + low_half(first);
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
            found_always[set] | always_digits.compare(digits, which, open_always[set]);
        if (kTwo) {
          found_strong[set] =
              found_strong[set] | strong_digits.compare(digits, which, open_strong[set]);
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
    if (kTwo) weak = weak | load(strong + at);
    store(fails + at, broadcast(extremes.fixed));
    open.append<false>(lane_numbers() + static_cast<uint32_t>(at), weak & extremes.wanted, weak,
                       lanes_before(at, count));
  }
  settle<false>(keys, open, first, 0, Digits(failure), Digits(0), fails, nullptr,
                FailureCounters{access});
  for (size_t at = 0; at < count; at += kLanes) {
    const Words kept = load(fails + at);
    store(always + at, load(always + at) & kept);
    if (kTwo) store(strong + at, load(strong + at) & kept);
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

// Groups of lines, each with its line's probabilities (one, or one for each stored value), of which
// some cells are open.
template <size_t kValues>
struct OpenLineGroups {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t slot[kRoom];
  alignas(64) uint32_t low_index[kRoom];
  alignas(64) uint32_t high_index[kRoom];
  // The probabilities' digits that are still to be compared, and the cells that are open.
  alignas(64) uint32_t high[kValues][kRoom];
  alignas(64) uint32_t low[kValues][kRoom];
  alignas(64) uint32_t open[kValues][kRoom];
  size_t size = 0;
};

// Draws until no group is open; joins the bits found with `words`, by slot, of each value's.
template <size_t kValues>
EDEN_LANES void settle_line_groups(const Keys& keys, OpenLineGroups<kValues>& groups,
                                   uint32_t* const (&words)[kValues]) {
  for (uint32_t which = 0; groups.size != 0 && which < kDraws; ++which) {
    const size_t size = groups.size;
    groups.size = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Counter counter[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        counter[set] = {{load(groups.low_index + lane), load(groups.high_index + lane),
                         broadcast(which), broadcast(counter_word(Stream::kDenseMark, 0))}};
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        const Words slot = load(groups.slot + lane);
        alignas(64) uint32_t slots[kLanes];
        store(slots, slot);
        Words high[kValues], low[kValues], equal[kValues], any_open = broadcast(0);
        EDEN_UNROLL(2)
        for (size_t value = 0; value < kValues; ++value) {
          high[value] = load(groups.high[value] + lane),
          low[value] = load(groups.low[value] + lane);
          const Words open = load(groups.open[value] + lane);
          Words is_less = broadcast(0);
          equal[value] = open;
          const auto compare = [&]<int kDigit>() EDEN_INLINE_LAMBDA {
            const Words digit = (high[value] << kDigit) >> 31;
            const Words wanted = 0u - digit;
            is_less = digit_less(is_less, numbers.word[set][kDigit], wanted);
            equal[value] = digit_equal(equal[value], numbers.word[set][kDigit], wanted);
          };
          static_assert(kDigitsInDraw == 4);
          compare.template operator()<3>();
          compare.template operator()<2>();
          compare.template operator()<1>();
          compare.template operator()<0>();
          join(words[value], slots, is_less & open, lane, size);
          any_open = any_open | equal[value];
        }
        const Mask more = both(lanes_before(lane, size), common_bits(any_open, any_open));
        const size_t to = groups.size;
        EDEN_UNROLL(2)
        for (size_t value = 0; value < kValues; ++value) {
          compress(groups.high[value] + to, more,
                   (high[value] << kDigitsInDraw) | (low[value] >> (32 - kDigitsInDraw)));
          compress(groups.low[value] + to, more, low[value] << kDigitsInDraw);
          compress(groups.open[value] + to, more, equal[value]);
        }
        compress(groups.low_index + to, more, counter[set].word[0]);
        compress(groups.high_index + to, more, counter[set].word[1]);
        groups.size += compress(groups.slot + to, more, slot);
      }
    });
  }
  groups.size = 0;
}

// The groups of a line that hold wanted cells.
struct LineGroups {
  uint32_t first, last;

  EDEN_INLINE explicit LineGroups(const PatchLines& lines)
      : first(lines.lead >> kGroupBits),
        last((lines.lead + ((lines.end - 1) >> lines.row_shift)) >> kGroupBits) {}
};

// Has the group of a line drawn into `words`, at `slot`.
template <size_t kValues>
EDEN_LANES void enter_group(const PatchLines& lines, const DenseLine& dense, uint32_t group,
                            size_t slot, OpenLineGroups<kValues>& groups,
                            uint32_t* const (&words)[kValues]) {
  const uint64_t cell = lines.first_cell + uint64_t{dense.line} * lines.length;
  const uint64_t index = (cell >> kGroupBits) + group;
  const size_t at = groups.size;
  groups.slot[at] = static_cast<uint32_t>(slot);
  groups.low_index[at] = low_half(index);
  groups.high_index[at] = high_half(index);
  uint32_t any_open = 0;
  EDEN_UNROLL(2)
  for (size_t value = 0; value < kValues; ++value) {
    const Extremes extremes(dense.probability[value]);
    words[value][slot] = extremes.fixed;
    groups.high[value][at] = high_half(dense.probability[value]);
    groups.low[value][at] = low_half(dense.probability[value]);
    groups.open[value][at] = extremes.wanted;
    any_open |= extremes.wanted;
  }
  if (any_open != 0) ++groups.size;
}

// Where lines are few: their cells one by one.
template <size_t kValues>
EDEN_LANES void list_dense_lines(const Keys& keys, const PatchLines& lines, const DenseLine* dense,
                                 size_t count, FoundCells& found) {
  const LineGroups of_line(lines);
  OpenLineGroups<kValues> groups;
  alignas(64) uint32_t of_value[kValues][kBatch], line[kBatch], row[kBatch];
  uint32_t* words[kValues];
  for (size_t value = 0; value < kValues; ++value) words[value] = of_value[value];
  size_t slots = 0;
  const auto find_batch = [&] {
    settle_line_groups(keys, groups, words);
    reserve(found, slots * kGroupCells + kStep);
    uint32_t* end = found.cell + found.size;
    const Words row_shift = broadcast(static_cast<uint32_t>(lines.row_shift));
    for (size_t slot = 0; slot < slots; ++slot) {
      EDEN_UNROLL(8)
      for (uint32_t first = 0; first < kGroupCells; first += kLanes) {
        const Words bits = lane_numbers() + first;
        const uint32_t zero = words[0][slot], one = words[kValues - 1][slot];
        const Words bit = shift_left(broadcast(1), bits);
        const Mask weak = common_bits(broadcast(zero | one), bit);
        const Words place = shift_left(bits + row[slot], row_shift) + line[slot];
        const Mask wanted =
            both(weak, less(place - lines.begin, broadcast(lines.end - lines.begin)));
        const Words once =
            kValues == 1 ? Words{} : where(common_bits(broadcast(zero ^ one), bit), broadcast(1));
        end += compress(end, wanted, place + place + once);
      }
    }
    found.size = static_cast<size_t>(end - found.cell);
    slots = 0;
  };
  for (size_t i = 0; i < count; ++i) {
    for (uint32_t group = of_line.first; group <= of_line.last; ++group) {
      line[slots] = dense[i].line;
      row[slots] = (group << kGroupBits) - lines.lead;
      enter_group(lines, dense[i], group, slots, groups, words);
      if (++slots == kBatch) find_batch();
    }
  }
  find_batch();
}

// 32 x kLanes neighbouring lines, of which a lane has 32: the words of 32 cells of each line become
// the words of 32 lines of each row.
constexpr uint32_t kTileLines = kGroupCells * static_cast<uint32_t>(kLanes);

EDEN_LANES void transpose_tile(uint32_t* words) {
  uint32_t low = 0x0000ffffu;
  EDEN_UNROLL(5)
  for (uint32_t half = kGroupCells / 2; half != 0; half /= 2, low ^= low << half) {
    for (uint32_t row = 0; row < kGroupCells; row = (row + half + 1) & ~half) {
      uint32_t *above = words + row * kLanes, *below = above + half * kLanes;
      const Words a = load(above), b = load(below);
      const Words exchanged = ((a >> half) ^ b) & low;
      store(above, a ^ (exchanged << half));
      store(below, b ^ exchanged);
    }
  }
}

// Joins a row of a tile, which begins with place `place`, with the mask.
EDEN_LANES void join_row(const PatchLines& lines, const uint32_t* row, uint32_t place, char* mask) {
  char* const at = mask + place / 8;
  Words words = load(row);
  if (place < lines.begin || place + kTileLines > lines.end) {
    alignas(64) uint32_t wanted[kLanes];
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t first = place + lane * kGroupCells;
      const uint32_t before = first < lines.begin ? lines.begin - first : 0;
      const uint32_t until = first < lines.end ? lines.end - first : 0;
      wanted[lane] = (before < kGroupCells ? ~0u << before : 0) &
                     (until < kGroupCells ? ~(~0u << until) : ~0u);
    }
    words &= load(wanted);
  }
  store(at, load(at) | words);
}

// Where lines are many: the masks' words, a tile of lines and some groups of each at a time.
template <size_t kValues>
EDEN_LANES void join_dense_lines(const Keys& keys, const PatchLines& lines, const DenseLine* dense,
                                 size_t count, uint64_t* const (&masks)[2]) {
  constexpr size_t kTiles = 4;
  static_assert(kTileLines <= kBatch);
  const LineGroups of_line(lines);
  OpenLineGroups<kValues> groups;
  alignas(64) uint32_t of_value[kValues][kTiles * kGroupCells * kLanes];
  uint32_t* words[kValues];
  for (size_t value = 0; value < kValues; ++value) words[value] = of_value[value];
  for (size_t i = 0, end = 0; i < count; i = end) {
    const uint32_t tile = dense[i].line / kTileLines;
    while (end < count && dense[end].line / kTileLines == tile) ++end;
    for (uint32_t group = of_line.first, tiles = 0; group <= of_line.last; group += tiles) {
      for (tiles = 0;
           tiles < kTiles && group + tiles <= of_line.last && groups.size + (end - i) <= kBatch;
           ++tiles) {
        for (uint32_t* const all : words) {
          uint32_t* const of_tile = all + tiles * kTileLines;
          for (uint32_t at = 0; at < kTileLines; at += kLanes) store(of_tile + at, Words{});
        }
        for (size_t line = i; line < end; ++line) {
          const uint32_t in_tile = dense[line].line % kTileLines;
          const size_t slot =
              tiles * kTileLines + in_tile % kGroupCells * kLanes + in_tile / kGroupCells;
          enter_group(lines, dense[line], group + tiles, slot, groups, words);
        }
      }
      settle_line_groups(keys, groups, words);
      for (uint32_t i_tile = 0; i_tile < kValues * tiles; ++i_tile) {
        const size_t value = i_tile / tiles;
        char* const mask = reinterpret_cast<char*>(masks[value]);
        uint32_t* const of_tile = words[value] + i_tile % tiles * kTileLines;
        transpose_tile(of_tile);
        for (uint32_t bit = 0; bit < kGroupCells; ++bit) {
          const uint32_t in_line = ((group + i_tile % tiles) << kGroupBits) + bit;
          const uint32_t row = in_line - lines.lead;
          if (in_line < lines.lead || row > (lines.end - 1) >> lines.row_shift) continue;
          join_row(lines, of_tile + bit * kLanes, (row << lines.row_shift) + tile * kTileLines,
                   mask);
        }
      }
    }
  }
}

void find_dense_in_lines(uint64_t chip, const PatchLines& lines, const DenseLine* dense,
                         size_t count, uint64_t* const (&masks)[2], FoundCells& found) {
  const Keys keys = make_keys(chip);
  if (lines.lower == nullptr) {
    if (masks[0] == nullptr) return list_dense_lines<1>(keys, lines, dense, count, found);
    return join_dense_lines<1>(keys, lines, dense, count, masks);
  }
  if (masks[0] == nullptr) return list_dense_lines<2>(keys, lines, dense, count, found);
  join_dense_lines<2>(keys, lines, dense, count, masks);
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
          const Words place = entry[set] >> 1;
          cell[set] = place + (place >> row_shift) * skipped + lead;
          group[set] = (cell[set] >> kGroupBits) + low_half(first_group);
        }
        Numbers<sets.kNumber> numbers;
        draw_lanes(keys, group, high_half(first_group), counters.third(which),
                   counters.fourth(which), numbers);
        EDEN_UNROLL(2)
        for (size_t set = 0; set < sets.kNumber; ++set) {
          const Words bit = shift_left(broadcast(1), cell[set] & place_in_group);
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
}  // namespace eden::simd::EDEN_ISA
