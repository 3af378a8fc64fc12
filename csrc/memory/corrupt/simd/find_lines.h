// The weak cells of wordlines and bitlines: which lines are weak, and the marks of their cells,
// each judged by the threshold of its line.
#pragma once

#include "memory/corrupt/simd/find_marks.h"
#include "memory/lines.h"

namespace eden::simd::EDEN_ISA {
namespace {

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
    // That of a power of two leaves the shift alone.
    if (inverse_ == 1u << 31) return offset >> (kGroupBits + shift_);
    Wide high, low;
    multiply(widen((offset >> kGroupBits) << 1), inverse_, high, low);
    return narrow(high) >> shift_;
  }

 private:
  uint32_t shift_, inverse_;
};

// The marks of the lanes in `tie`, one by one.
__attribute__((noinline)) void judge_line_ties(uint64_t chip, const PatchLines& lines,
                                               const Blocks& blocks, size_t lane, uint32_t ordinal,
                                               Words word, Mask tie, FoundCells& found) {
  alignas(64) uint32_t words[kLanes];
  store(words, word);
  for (uint32_t lanes = bits_of(tie); lanes != 0; lanes &= lanes - 1) {
    const auto i = static_cast<size_t>(__builtin_ctz(lanes));
    const MarkBlock block{blocks.index(lane + i), static_cast<int32_t>(blocks.level[lane + i])};
    judge_line_mark(chip, lines, block, ordinal, words[i], found);
  }
}

// Judges marks by the thresholds of their lines. Of a block's fields, `base` is the offset of its
// first cell from the lowest wanted one, `span` the number of wanted cells from that one on, and
// `entry` the lowest one's offset. `kTwo` says that lines have two thresholds.
template <bool kTwo>
class LineJudge {
 public:
  struct LinePlace {
    Words base, span, lowest, octave;
    Words bits, shift, unknown;
  };

  EDEN_INLINE LineJudge(uint64_t chip, const PatchLines& lines, FoundCells& found)
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
            (kLastLevel - level) << (32 - kLineKeyShift),
            bits,
            32u - bits,
            shift_left(broadcast(1), bits) - 1u};
  }

  EDEN_INLINE void take(const LinePlace& place, const Blocks& blocks, size_t lane, uint32_t ordinal,
                        Words word, Mask valid) {
    const Words cell = (word >> place.shift) + place.base;
    const Mask inside = both(valid, less(cell, place.span));
    const Words offset = where(inside, cell + place.lowest);
    const Words line = line_of_(offset);
    const Words key = gather(lines_.key, line);
    const Words nearest = shift_left(word, place.bits);
    const Words highest = (nearest | place.unknown) >> kLineKeyShift;
    const Words lowest = nearest >> kLineKeyShift;
    Mask below = both(inside, less(highest | place.octave, key)), all = below;
    if (kTwo) {
      const Words lower = gather(lines_.lower_key, line);
      all = both(inside, less(highest | place.octave, lower));
      below = without(below, without(at_most(lowest | place.octave, lower), all));
    }
    // Where the bits not drawn yet, or those that a key has not, decide.
    const Mask tie = without(both(inside, at_most(lowest | place.octave, key)), below);
    if (__builtin_expect(any(tie), 0)) {
      finish();
      judge_line_ties(chip_, lines_, blocks, lane, ordinal, word, tie, found_);
      end_ = found_.cell + found_.size;
    }
    Words at = offset - lines_.lead;
    if (lines_.across) {
      const Words row = at - line * lines_.length;
      at = shift_left(row, broadcast(static_cast<uint32_t>(lines_.row_shift))) + line;
    }
    const Mask wanted = both(below, less(at - lines_.begin, broadcast(lines_.end - lines_.begin)));
    const Words one = kTwo ? where(without(wanted, all), broadcast(1)) : Words{};
    end_ += compress(end_, wanted, at + at + one);
  }

  EDEN_INLINE void squeeze(Blocks& blocks, size_t lane, size_t to, Mask more) const {
    compress(blocks.base + to, more, load(blocks.base + lane));
    compress(blocks.span + to, more, load(blocks.span + lane));
    compress(blocks.entry + to, more, load(blocks.entry + lane));
  }

 private:
  uint64_t chip_;
  const PatchLines& lines_;
  LineOfOffset line_of_;
  FoundCells& found_;
  uint32_t* end_;
};

// Judges marks of blocks that lie in one line that crosses the rows, by its threshold. Of a block's
// fields, `base` is the row of its first cell (negative before the patch), `entry` the line,
// `strong` the line's key, and `always` that of its lower threshold.
template <bool kTwo>
class OneLineJudge {
 public:
  struct OneLinePlace {
    Words base, line, key, lower, octave;
    Words bits, shift, unknown;
  };

  EDEN_INLINE OneLineJudge(uint64_t chip, const PatchLines& lines, FoundCells& found)
      : chip_(chip), lines_(lines), found_(found), end_(found.cell + found.size) {}
  EDEN_INLINE void finish() { found_.size = static_cast<size_t>(end_ - found_.cell); }

  EDEN_INLINE OneLinePlace place(const Blocks& blocks, size_t lane) const {
    const Words level = load(blocks.level + lane), bits = bits_of_blocks(level);
    return {load(blocks.base + lane),
            load(blocks.entry + lane),
            load(blocks.strong + lane),
            kTwo ? load(blocks.always + lane) : Words{},
            (kLastLevel - level) << (32 - kLineKeyShift),
            bits,
            32u - bits,
            shift_left(broadcast(1), bits) - 1u};
  }

  EDEN_INLINE void take(const OneLinePlace& place, const Blocks& blocks, size_t lane,
                        uint32_t ordinal, Words word, Mask valid) {
    const Words nearest = shift_left(word, place.bits);
    const Words highest = (nearest | place.unknown) >> kLineKeyShift;
    const Words lowest = nearest >> kLineKeyShift;
    Mask below = both(valid, less(highest | place.octave, place.key)), all = below;
    if (kTwo) {
      all = both(valid, less(highest | place.octave, place.lower));
      below = without(below, without(at_most(lowest | place.octave, place.lower), all));
    }
    const Mask tie = without(both(valid, at_most(lowest | place.octave, place.key)), below);
    if (__builtin_expect(any(tie), 0)) {
      finish();
      judge_line_ties(chip_, lines_, blocks, lane, ordinal, word, tie, found_);
      end_ = found_.cell + found_.size;
    }
    const Words row = (word >> place.shift) + place.base;
    const Words at =
        shift_left(row, broadcast(static_cast<uint32_t>(lines_.row_shift))) + place.line;
    const Mask wanted = both(below, less(at - lines_.begin, broadcast(lines_.end - lines_.begin)));
    const Words one = kTwo ? where(without(wanted, all), broadcast(1)) : Words{};
    end_ += compress(end_, wanted, at + at + one);
  }

  EDEN_INLINE void squeeze(Blocks& blocks, size_t lane, size_t to, Mask more) const {
    compress(blocks.base + to, more, load(blocks.base + lane));
    compress(blocks.entry + to, more, load(blocks.entry + lane));
    compress(blocks.strong + to, more, load(blocks.strong + lane));
    if (kTwo) compress(blocks.always + to, more, load(blocks.always + lane));
  }

 private:
  uint64_t chip_;
  const PatchLines& lines_;
  FoundCells& found_;
  uint32_t* end_;
};

template <class Judge>
__attribute__((noinline)) void find_in_line_blocks(uint64_t chip, const Keys& keys,
                                                   const PatchLines& lines, Blocks& blocks,
                                                   FoundCells& found) {
  reserve(found, blocks.size * kPoissonTableSize + kStep);
  Judge judge(chip, lines, found);
  draw_blocks(keys, blocks, judge);
  judge.finish();
}

// Sorts the blocks of levels by whether each lies in one line, and has them searched.
template <bool kTwo>
class LineBlocks {
 public:
  EDEN_INLINE LineBlocks(uint64_t chip, const PatchLines& lines, FoundCells& found)
      : chip_(chip),
        keys_(make_keys(chip)),
        lines_(lines),
        line_of_(lines.length),
        cells_(lines.count * lines.length),
        found_(found) {}

  EDEN_INLINE void enter(const MarkBlocks& level) {
    constexpr uint32_t kInLanes = static_cast<uint32_t>((uint64_t{1} << kLanes) - 1);
    constexpr size_t kInWord = 64;
    alignas(64) uint32_t numbers[kBatch + kInWord + kLanes];
    size_t size = 0;
    const auto append_all = [&] {
      for (size_t at = 0; at < size; at += kLanes) {
        append(level, load(numbers + at), lanes_before(at, size), 0, cells_);
      }
      size = 0;
    };
    const int bits = bits_of_block(level.level);
    for (size_t w = 0; w < level.words; ++w) {
      uint64_t word = level.wanted[w];
      if (word == 0) continue;
      if (bits == 32) {
        // Such a block is as long as offsets go modulo 2^32, so the wanted cells are cut at its
        // ends.
        for (; word != 0; word &= word - 1) {
          const uint64_t number = w * kInWord + static_cast<uint64_t>(__builtin_ctzll(word));
          const uint64_t base = ((level.first + number) << bits) - lines_.first_cell;
          const uint32_t low = base < cells_ ? low_half(base) : 0;
          const bool ends = base + (uint64_t{1} << 32) < cells_;
          append(level, broadcast(static_cast<uint32_t>(number)), lanes_of(1), low,
                 ends ? low_half(base) : cells_);
        }
        continue;
      }
      EDEN_UNROLL(16)
      for (size_t bit = 0; bit < kInWord; bit += kLanes) {
        const Words number = lane_numbers() + static_cast<uint32_t>(w * kInWord + bit);
        size += compress(numbers + size, lanes_of(static_cast<uint32_t>(word >> bit) & kInLanes),
                         number);
      }
      if (size >= kBatch) append_all();
    }
    append_all();
  }

  EDEN_INLINE void finish() {
    find_in_line_blocks<OneLineJudge<kTwo>>(chip_, keys_, lines_, of_line_, found_);
    find_in_line_blocks<LineJudge<kTwo>>(chip_, keys_, lines_, of_lines_, found_);
  }

 private:
  // Of a level's blocks of these numbers those wanted, and of their cells those of offsets [low,
  // high).
  EDEN_INLINE void append(const MarkBlocks& level, Words numbers, Mask wanted, uint32_t low,
                          uint32_t high) {
    const int bits = bits_of_block(level.level);
    const uint32_t first = low_half(level.first);
    const Words index = numbers + first;
    // Beyond a multiple of 2^32 the sum is less than what was added to.
    const Words high_index =
        high_half(level.first) + where(less(index, broadcast(first)), broadcast(1));
    // Modulo 2^32: a block can begin before the first cell.
    const Words offset = shift_left(numbers, broadcast(static_cast<uint32_t>(bits))) +
                         low_half((level.first << bits) - lines_.first_cell);
    if (lines_.across && uint64_t{1} << bits <= lines_.length) {
      const Mask begins = both(wanted, less(offset, broadcast(cells_)));
      const Words inside = where(begins, offset), line = line_of_(inside);
      const Words in_line = inside - line * lines_.length;
      const Mask one = both(begins, at_most(in_line, broadcast(lines_.length - (1u << bits))));
      if (of_line_.size > kBatch - kLanes) {
        find_in_line_blocks<OneLineJudge<kTwo>>(chip_, keys_, lines_, of_line_, found_);
      }
      const size_t at = of_line_.size;
      compress(of_line_.base + at, one, in_line - lines_.lead);
      compress(of_line_.entry + at, one, line);
      compress(of_line_.strong + at, one, gather(lines_.key, line));
      if (kTwo) compress(of_line_.always + at, one, gather(lines_.lower_key, line));
      append_indices(of_line_, level, one, index, high_index);
      wanted = without(wanted, one);
      if (!any(wanted)) return;
    }
    if (of_lines_.size > kBatch - kLanes) {
      find_in_line_blocks<LineJudge<kTwo>>(chip_, keys_, lines_, of_lines_, found_);
    }
    const size_t at = of_lines_.size;
    compress(of_lines_.base + at, wanted, offset - low);
    store(of_lines_.span + at, broadcast(high - low));
    store(of_lines_.entry + at, broadcast(low));
    append_indices(of_lines_, level, wanted, index, high_index);
  }

  EDEN_INLINE void append_indices(Blocks& blocks, const MarkBlocks& level, Mask wanted, Words index,
                                  Words high_index) {
    const size_t at = blocks.size;
    store(blocks.level + at, broadcast(static_cast<uint32_t>(level.level)));
    compress(blocks.high_index + at, wanted, high_index);
    blocks.size += compress(blocks.low_index + at, wanted, index);
  }

  uint64_t chip_;
  Keys keys_;
  const PatchLines& lines_;
  LineOfOffset line_of_;
  uint32_t cells_;
  FoundCells& found_;
  Blocks of_lines_, of_line_;
};

template <bool kTwo>
EDEN_LANES void find_blocks_in_lines(uint64_t chip, const PatchLines& lines,
                                     const MarkBlocks* levels, size_t count, FoundCells& found) {
  LineBlocks<kTwo> blocks(chip, lines, found);
  for (size_t i = 0; i < count; ++i) blocks.enter(levels[i]);
  blocks.finish();
}

void find_in_lines(uint64_t chip, const PatchLines& lines, const MarkBlocks* levels, size_t count,
                   FoundCells& found) {
  if (lines.lower != nullptr) {
    find_blocks_in_lines<true>(chip, lines, levels, count, found);
  } else {
    find_blocks_in_lines<false>(chip, lines, levels, count, found);
  }
}

size_t find_weak_lines(uint64_t chip, uint32_t detail, uint64_t first_line, uint32_t count,
                       uint32_t most, uint32_t last, uint32_t* line, uint32_t* mark) {
  constexpr uint32_t kLines = static_cast<uint32_t>(kLinesInDraw);
  const Keys keys = make_keys(chip);
  size_t size = 0;
  const uint64_t end = (first_line + count - 1) / kLines + 1;
  for (uint64_t first = first_line / kLines; first < end;) {
    // Draws whose numbers agree in their high half.
    const uint64_t same_high = (first | ~uint32_t{0}) + 1;
    const size_t draws = static_cast<size_t>((end < same_high ? end : same_high) - first);
    for_each_step(draws, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Words index[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        index[set] = lane_numbers() + low_half(first + at + set * kLanes);
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, index, high_half(first), 0, counter_word(Stream::kLine, detail), numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const Mask valid = lanes_before(at + set * kLanes, draws);
        // Modulo 2^32: a draw can begin before the first line.
        const Words offset = index[set] * kLines - low_half(first_line);
        EDEN_UNROLL(4)
        for (uint32_t i = 0; i < kLines; ++i) {
          // Modulo 2^32 the last marks come before the first one.
          const Mask weak = both(at_most(numbers.word[set][i] + last, broadcast(most + last)),
                                 both(valid, less(offset + i, broadcast(count))));
          compress(line + size, weak, offset + i);
          size += compress(mark + size, weak, numbers.word[set][i]);
        }
      }
    });
    first += draws;
  }
  return size;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
