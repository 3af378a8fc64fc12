// The dense part of lines that cross the rows, each with a probability of its own.
#pragma once

#include "memory/corrupt/simd/find_dense.h"

namespace eden::simd::EDEN_ISA {
namespace {

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

// Draws until no group is open, from draw `which` on; joins the bits found with `words`, by slot,
// of each value's.
template <size_t kValues>
EDEN_LANES void settle_line_groups(const Keys& keys, OpenLineGroups<kValues>& groups,
                                   uint32_t which, uint32_t* const (&words)[kValues]) {
  for (; groups.size != 0 && which < kDraws; ++which) {
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
    settle_line_groups(keys, groups, 0, words);
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
  char* const at = mask + (place + (place >> lines.row_shift) * lines.row_gap) / 8;
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

// The lines of a tile that have a dense part, and what all of their groups share.
template <size_t kValues>
struct TileLines {
  static constexpr uint32_t kDigits = kUnconditional * kDigitsInDraw;
  static constexpr size_t kRoom = kTileLines + kStep;
  alignas(64) uint32_t low_index[kRoom];  // of the first group
  alignas(64) uint32_t high_index[kRoom];
  alignas(64) uint32_t slot[kRoom];  // of the line in the tile
  // Bits that are found and cells that are open before any digit is compared.
  alignas(64) uint32_t fixed[kValues][kRoom];
  alignas(64) uint32_t open[kValues][kRoom];
  // The probabilities' first digits, all bits of each alike, and those that follow.
  alignas(64) uint32_t digit[kValues][kDigits][kRoom];
  alignas(64) uint32_t high[kValues][kRoom];
  alignas(64) uint32_t low[kValues][kRoom];
  size_t size = 0;

  EDEN_INLINE void enter(const PatchLines& lines, const DenseLine& dense) {
    const uint64_t index = (lines.first_cell + uint64_t{dense.line} * lines.length) >> kGroupBits;
    low_index[size] = low_half(index);
    high_index[size] = high_half(index);
    const uint32_t line = dense.line % kTileLines;
    slot[size] = line % kGroupCells * kLanes + line / kGroupCells;
    EDEN_UNROLL(2)
    for (size_t value = 0; value < kValues; ++value) {
      const Extremes extremes(dense.probability[value]);
      fixed[value][size] = extremes.fixed;
      open[value][size] = extremes.wanted;
      high[value][size] = high_half(dense.probability[value]);
      low[value][size] = low_half(dense.probability[value]);
    }
    ++size;
  }

  EDEN_INLINE void part_digits() {
    for (size_t value = 0; value < kValues; ++value) {
      for (size_t at = 0; at < size; at += kLanes) {
        const Words above = load(high[value] + at), below = load(low[value] + at);
        EDEN_UNROLL(8)
        for (uint32_t i = 0; i < kDigits; ++i) {
          store(digit[value][i] + at, 0u - ((above << i) >> 31));
        }
        store(high[value] + at, (above << kDigits) | (below >> (32 - kDigits)));
        store(low[value] + at, below << kDigits);
      }
    }
  }
};

// Draws the first digits of a group of each of a tile's lines, which has the slots from `slot` on.
template <size_t kValues>
EDEN_LANES void find_tile_groups(const Keys& keys, const TileLines<kValues>& tile, uint32_t group,
                                 uint32_t slot, OpenLineGroups<kValues>& groups,
                                 uint32_t* const (&words)[kValues]) {
  for_each_step(tile.size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
    Counter counter[sets.kNumber];
    Words found[sets.kNumber][kValues], open[sets.kNumber][kValues];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      const Words low = load(tile.low_index + lane) + group;
      // Beyond a multiple of 2^32 the sum is less than what was added to.
      const Words high =
          load(tile.high_index + lane) + where(less(low, broadcast(group)), broadcast(1));
      counter[set] = {{low, high, Words{}, broadcast(counter_word(Stream::kDenseMark, 0))}};
      EDEN_UNROLL(2)
      for (size_t value = 0; value < kValues; ++value) {
        found[set][value] = load(tile.fixed[value] + lane);
        open[set][value] = load(tile.open[value] + lane);
      }
    }
    EDEN_UNROLL(1)
    for (uint32_t which = 0; which < kUnconditional; ++which) {
      Numbers<sets.kNumber> numbers;
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) counter[set].word[2] = broadcast(which);
      draw_lanes(keys, counter, numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        EDEN_UNROLL(2)
        for (size_t value = 0; value < kValues; ++value) {
          Words is_less = Words{}, equal = open[set][value];
          EDEN_UNROLL(4)
          for (int i = kDigitsInDraw - 1; i >= 0; --i) {
            const uint32_t digit = kDigitsInDraw * which + static_cast<uint32_t>(i);
            const Words wanted = load(tile.digit[value][digit] + at + set * kLanes);
            is_less = digit_less(is_less, numbers.word[set][i], wanted);
            equal = digit_equal(equal, numbers.word[set][i], wanted);
          }
          found[set][value] = found[set][value] | (is_less & open[set][value]);
          open[set][value] = equal;
        }
      }
    }
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes, to = groups.size;
      Words any_open = Words{};
      EDEN_UNROLL(2)
      for (size_t value = 0; value < kValues; ++value) {
        store(words[value] + slot + lane, found[set][value]);
        any_open = any_open | open[set][value];
      }
      const Mask more = both(lanes_before(lane, tile.size), common_bits(any_open, any_open));
      EDEN_UNROLL(2)
      for (size_t value = 0; value < kValues; ++value) {
        compress(groups.high[value] + to, more, load(tile.high[value] + lane));
        compress(groups.low[value] + to, more, load(tile.low[value] + lane));
        compress(groups.open[value] + to, more, open[set][value]);
      }
      compress(groups.low_index + to, more, counter[set].word[0]);
      compress(groups.high_index + to, more, counter[set].word[1]);
      groups.size +=
          compress(groups.slot + to, more, lane_numbers() + static_cast<uint32_t>(slot + lane));
    }
  });
}

// Where lines are many: the masks' words, a tile of lines and some groups of each at a time.
template <size_t kValues>
EDEN_LANES void join_dense_lines(const Keys& keys, const PatchLines& lines, const DenseLine* dense,
                                 size_t count, uint64_t* const (&masks)[2]) {
  constexpr uint32_t kGroups = 8;
  constexpr uint32_t kRoom = static_cast<uint32_t>(TileLines<kValues>::kRoom);
  static_assert(kTileLines <= kBatch);
  const LineGroups of_line(lines);
  TileLines<kValues> tile;
  OpenLineGroups<kValues> open;
  alignas(64) uint32_t of_value[kValues][kGroups * kRoom];
  alignas(64) uint32_t of_tile[kTileLines];
  uint32_t* words[kValues];
  for (size_t value = 0; value < kValues; ++value) words[value] = of_value[value];
  for (size_t i = 0; i < count;) {
    const uint32_t number = dense[i].line / kTileLines;
    for (tile.size = 0; i < count && dense[i].line / kTileLines == number; ++i) {
      tile.enter(lines, dense[i]);
    }
    tile.part_digits();
    for (uint32_t group = of_line.first, groups = 0; group <= of_line.last; group += groups) {
      for (groups = 0;
           groups < kGroups && group + groups <= of_line.last && open.size + tile.size <= kBatch;
           ++groups) {
        find_tile_groups(keys, tile, group + groups, groups * kRoom, open, words);
      }
      settle_line_groups(keys, open, kUnconditional, words);
      for (uint32_t which = 0; which < kValues * groups; ++which) {
        const uint32_t value = which / groups;
        const uint32_t first = (group + which % groups) << kGroupBits;
        const uint32_t* const found = words[value] + which % groups * kRoom;
        for (uint32_t at = 0; at < kTileLines; at += kLanes) store(of_tile + at, Words{});
        for (size_t line = 0; line < tile.size; ++line) of_tile[tile.slot[line]] = found[line];
        transpose_tile(of_tile);
        for (uint32_t bit = 0; bit < kGroupCells; ++bit) {
          const uint32_t row = first + bit - lines.lead;
          if (first + bit < lines.lead || row > (lines.end - 1) >> lines.row_shift) continue;
          join_row(lines, of_tile + bit * kLanes, (row << lines.row_shift) + number * kTileLines,
                   reinterpret_cast<char*>(masks[value]));
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

}  // namespace
}  // namespace eden::simd::EDEN_ISA
