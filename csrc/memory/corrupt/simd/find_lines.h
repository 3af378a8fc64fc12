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

template <bool kTwo>
EDEN_LANES void find_blocks_in_lines(uint64_t chip, const PatchLines& lines,
                                     const MarkBlock* blocks_of, size_t count, FoundCells& found) {
  const Keys keys = make_keys(chip);
  const uint32_t cells = lines.count * lines.length;
  Blocks of_lines, of_line;
  for (size_t i = 0; i < count; ++i) {
    const int bits = bits_of_block(blocks_of[i].level);
    // Modulo 2^64 and 2^32: a block can begin before the first cell.
    const uint64_t base = (blocks_of[i].index << bits) - lines.first_cell;
    const auto offset = low_half(base);
    const uint32_t line = lines.across && base < cells ? offset / lines.length : 0;
    const uint32_t in_line = offset - line * lines.length;
    const bool one =
        lines.across && base < cells && in_line + (uint64_t{1} << bits) <= lines.length;
    Blocks& blocks = one ? of_line : of_lines;
    const size_t at = blocks.size++;
    blocks.low_index[at] = low_half(blocks_of[i].index);
    blocks.high_index[at] = high_half(blocks_of[i].index);
    blocks.level[at] = static_cast<uint32_t>(blocks_of[i].level);
    if (one) {
      blocks.base[at] = in_line - lines.lead;
      blocks.entry[at] = line;
      blocks.strong[at] = lines.key[line];
      if (kTwo) blocks.always[at] = lines.lower_key[line];
    } else {
      uint32_t low = 0, high = cells;
      if (bits == 32) {
        // Such a block is as long as offsets go modulo 2^32, so the wanted cells are cut at its
        // ends.
        if (base < cells) low = offset;
        if (base + (uint64_t{1} << 32) < cells) high = offset;
      }
      blocks.base[at] = offset - low;
      blocks.span[at] = high - low;
      blocks.entry[at] = low;
    }
    if (blocks.size < kBatch) continue;
    if (one) {
      find_in_line_blocks<OneLineJudge<kTwo>>(chip, keys, lines, blocks, found);
    } else {
      find_in_line_blocks<LineJudge<kTwo>>(chip, keys, lines, blocks, found);
    }
  }
  find_in_line_blocks<OneLineJudge<kTwo>>(chip, keys, lines, of_line, found);
  find_in_line_blocks<LineJudge<kTwo>>(chip, keys, lines, of_lines, found);
}

void find_in_lines(uint64_t chip, const PatchLines& lines, const MarkBlock* blocks, size_t count,
                   FoundCells& found) {
  if (lines.lower != nullptr) {
    find_blocks_in_lines<true>(chip, lines, blocks, count, found);
  } else {
    find_blocks_in_lines<false>(chip, lines, blocks, count, found);
  }
}

size_t find_weak_lines(uint64_t chip, uint32_t detail, uint64_t first_line, uint32_t count,
                       uint32_t most, uint32_t last, uint32_t* line, uint32_t* mark) {
  constexpr uint32_t kLines = static_cast<uint32_t>(kLinesInDraw);
  const Keys keys = make_keys(chip);
  size_t size = 0;
  for (uint64_t at = first_line / kLines; at * kLines < first_line + count; at += kLanes) {
    const Words low = lane_numbers() + low_half(at);
    // Beyond a multiple of 2^32 the sum is less than what was added to.
    const Words high = high_half(at) + where(less(low, broadcast(low_half(at))), broadcast(1));
    const Counter counter[1] = {
        {{low, high, broadcast(0), broadcast(counter_word(Stream::kLine, detail))}}};
    Numbers<1> numbers;
    draw_lanes(keys, counter, numbers);
    // Modulo 2^32: a draw can begin before the first line.
    const Words offset = (lane_numbers() + low_half(at)) * kLines - low_half(first_line);
    EDEN_UNROLL(4)
    for (uint32_t i = 0; i < kLines; ++i) {
      // Modulo 2^32 the last marks come before the first one.
      const Mask weak = both(at_most(numbers.word[0][i] + last, broadcast(most + last)),
                             less(offset + i, broadcast(count)));
      compress(line + size, weak, offset + i);
      size += compress(mark + size, weak, numbers.word[0][i]);
    }
  }
  return size;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
