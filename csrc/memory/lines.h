// Wordlines and bitlines: where a line's cells lie, and how weak they are.
//
// The cells of a line are neighbours in line space, line x length + place, whichever way the line
// runs through the array: a bitline's cells are drawn there and mapped to addresses, a wordline's
// are where they are.
#pragma once

#include "base/random_layout.h"
#include "memory/region.h"

namespace eden {

// A population's table holds the conditional mean of the lines' probability over bins of their
// marks: kLineBinsInOctave bins to each octave of the distance of the mark from its upper end,
// because the weak lines are few. Bin 0 is that of the lines with the highest probability.
inline constexpr int kLineMarkBits = 32;
inline constexpr int kLineBinsInOctaveLog2 = 6;
inline constexpr int kLineBins = (kLineMarkBits - kLineBinsInOctaveLog2 + 1)
                                 << kLineBinsInOctaveLog2;

// The bin of a line with this distance of its mark from the upper end: 64 bins of one value each,
// then 64 to an octave.
EDEN_HOST_DEVICE inline int line_bin(uint32_t distance) {
  if (distance < (1u << kLineBinsInOctaveLog2)) return static_cast<int>(distance);
#if defined(__CUDA_ARCH__)
  const int octave = kLineMarkBits - 1 - kLineBinsInOctaveLog2 - __clz(distance);
  return ((octave + 1) << kLineBinsInOctaveLog2) +
         static_cast<int>((distance >> octave) & ((1u << kLineBinsInOctaveLog2) - 1u));
#else
  // The exponent and the first binary places of a double, which are found faster than a first bit
  // is counted.
  constexpr int kPlaces = 52, kBias = 1023 + kLineBinsInOctaveLog2 - 1;
  const auto bits = __builtin_bit_cast(uint64_t, static_cast<double>(distance));
  return static_cast<int>(bits >> (kPlaces - kLineBinsInOctaveLog2)) -
         (kBias << kLineBinsInOctaveLog2);
#endif
}

// The smallest distance in a bin; that of bin kLineBins is 2^32.
EDEN_HOST_DEVICE inline uint64_t line_bin_begin(int bin) {
  const int octave = bin >> kLineBinsInOctaveLog2;
  const uint64_t place = static_cast<uint64_t>(bin & ((1 << kLineBinsInOctaveLog2) - 1));
  if (octave == 0) return place;
  return (place + (1u << kLineBinsInOctaveLog2)) << (octave - 1);
}

// A threshold on marks, or the code of a mark, to within 2^kLineKeyShift: where keys differ, they
// are in the order of what they stand for.
inline constexpr int kLineKeyShift = 5;
EDEN_HOST_DEVICE inline uint32_t line_key(uint64_t threshold) {
  return threshold == 0 ? 0 : static_cast<uint32_t>((threshold - 1) >> kLineKeyShift);
}

inline constexpr int kLinesInDraw = 4;
inline constexpr uint32_t kLinesApart = 1;  // a detail of their stream

EDEN_HOST_DEVICE inline uint32_t line_mark(const PhiloxWords& words, uint64_t line) {
  // Chosen, not looked up: a device would put the words into a thread's stack.
  const uint32_t low = line & 1 ? words.word[1] : words.word[0];
  const uint32_t high = line & 1 ? words.word[3] : words.word[2];
  return line & 2 ? high : low;
}

// `apart` draws the marks that lines have for stored ones, where they have marks of their own.
EDEN_HOST_DEVICE inline PhiloxWords draw_lines(uint64_t chip, uint64_t line, bool apart = false) {
  return draw(chip, Stream::kLine, apart ? kLinesApart : 0, line / kLinesInDraw, 0);
}

// Entries of all lines, of both stored values where each has its own.
EDEN_HOST_DEVICE inline int64_t line_entries(const Region& region) {
  return by_value(region.table_kind) ? 2 * region.table_length : region.table_length;
}

// Entries of the table are pairs (sparse, dense). A threshold that no level reaches would have the
// search begin at a level that does not exist.
EDEN_HOST_DEVICE inline WeakThresholds line_entry(const Region& region, const int64_t* table,
                                                  uint64_t entry) {
  const int64_t* pair = table + region.table_first + 2 * static_cast<int64_t>(entry);
  const uint64_t sparse = static_cast<uint64_t>(pair[0]);
  return {sparse < kMaxSparseCode ? sparse : kMaxSparseCode, static_cast<uint64_t>(pair[1])};
}

// The entry of a line with this mark, for cells that store a value.
EDEN_HOST_DEVICE inline WeakThresholds line_entry_of_mark(const Region& region,
                                                          const int64_t* table, uint32_t mark,
                                                          bool stored) {
  const uint64_t first = by_value(region.table_kind) && stored ? kLineBins : 0;
  return line_entry(region, table, first + static_cast<uint64_t>(line_bin(mark)));
}

EDEN_HOST_DEVICE inline WeakThresholds line_thresholds(uint64_t chip, const Region& region,
                                                       const int64_t* table, uint64_t line,
                                                       bool stored) {
  if (region.table_kind == TableKind::kMeasured) {
    return line_entry(region, table, line % static_cast<uint64_t>(region.table_length));
  }
  const bool apart = stored && region.table_kind == TableKind::kApart;
  const uint32_t mark = line_mark(draw_lines(chip, line, apart), line);
  const bool opposite = stored && region.table_kind == TableKind::kOpposite;
  return line_entry_of_mark(region, table, opposite ? ~mark : mark, stored);
}

}  // namespace eden
