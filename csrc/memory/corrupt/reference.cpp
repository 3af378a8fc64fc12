#include "memory/corrupt/reference.h"

#include <bit>
#include <cstring>
#include <vector>

#include "base/refusal.h"
#include "memory/codes/coded_load.h"
#include "memory/lines.h"
#include "memory/weak_cells.h"

namespace eden {
namespace {

// Whether a mark or the dense part makes a cell weak; of lines, a cell in line space.
bool is_weak(uint64_t chip, uint64_t cell, const WeakThresholds& thresholds) {
  bool weak = false;
  for (int level = first_level(thresholds.sparse); level <= kLastLevel; ++level) {
    visit_marks(chip, level, cell >> block_bits(level), [&](const Mark& mark) {
      weak |= mark.cell() == cell && mark.below(chip, thresholds.sparse);
    });
  }
  const uint32_t group = dense_weak(chip, cell >> kGroupBits, thresholds.dense);
  return weak || ((group >> (cell % kGroupCells)) & 1) != 0;
}

bool is_in_map(const Load& load, const Region& region, uint64_t address, bool stored) {
  const int64_t flips = stored ? kMapFlipsOne : kMapFlipsZero;
  for (int64_t i = 0; i < region.table_length; ++i) {
    const int64_t entry = load.table[region.table_first + i];
    if (static_cast<uint64_t>(entry) >> kMapFlagBits == address && (entry & flips) != 0)
      return true;
  }
  return false;
}

bool is_weak(const Load& load, const Region& region, uint64_t address, bool stored) {
  switch (region.model) {
    case ModelKind::kCell:
      return is_weak(load.chip, address, {region.sparse[stored], region.dense[stored]});
    case ModelKind::kMap:
      return is_in_map(load, region, address, stored);
    default:
      break;
  }
  const uint64_t row = address / region.row_bits, column = address % region.row_bits;
  uint64_t line = row, cell = address;
  if (region.model == ModelKind::kBitline) {
    line = row / region.subarray_rows * region.row_bits + column;
    cell = line * region.subarray_rows + row % region.subarray_rows;
  }
  return is_weak(load.chip, cell, line_thresholds(load.chip, region, load.table, line, stored));
}

// Where a bit of a word lies: the region, and the bit's place in its plane, or in whole words.
struct Place {
  int64_t region;
  uint64_t bit;
};

Place place_of(const Load& load, uint64_t element, int bit, uint64_t width) {
  const uint32_t mask = uint32_t{1} << bit;
  for (int64_t i = 0; i < load.region_count; ++i) {
    const uint32_t plane = load.region(i).plane;
    if (plane != 0 && (plane & mask) == 0) continue;
    const uint64_t before = plane == 0 ? static_cast<uint64_t>(bit)
                                       : static_cast<uint64_t>(std::popcount(plane & (mask - 1)));
    const uint64_t place = element * plane_bits(plane, width) + before;
    if (load.region(i).end > place) return {i, place};
  }
  refuse("no region holds bit ", bit, " of element ", element);
}

template <class C>
void read_elements(const Load& load, const char* in, char* out) {
  const Conversion& conversion = load.conversion;
  for (int64_t i = 0; i < load.shape.sample_size(); ++i) {
    uint32_t flips[2] = {0, 0};
    for (int bit = 0; bit < C::kWidthBits; ++bit) {
      const Place place = place_of(load, static_cast<uint64_t>(i), bit, C::kWidthBits);
      const Region region = load.region(place.region);
      const uint64_t address = region.address + place.bit - load.first_bit(place.region);
      for (const bool stored : {false, true}) {
        const bool flip = cell_flips(load, region, address, stored);
        flips[stored] |= static_cast<uint32_t>(flip) << bit;
      }
    }
    const int64_t channel = i / conversion.channel_inner % conversion.channels;
    const ElementCode code = C::code_of_channel(conversion, channel);
    const bool corrects = conversion.correction != Correction::kNone;
    for (int64_t sample = 0; sample < load.shape.batch; ++sample) {
      typename C::Unsigned word;
      const auto at = static_cast<size_t>(load.shape.tensor_index(sample, i)) * sizeof(word);
      std::memcpy(&word, in + at, sizeof(word));
      word = static_cast<typename C::Unsigned>(
          corrects ? C::template read<true, true>(word, flips[0], flips[1], code)
                   : C::template read<true, false>(word, flips[0], flips[1], code));
      std::memcpy(out + at, &word, sizeof(word));
    }
  }
}

}  // namespace

bool cell_flips(const Load& load, const Region& region, uint64_t address, bool stored) {
  return is_weak(load, region, address, stored) &&
         cell_fails(load.chip, address, load.access, region.failure);
}

void corrupt_cell_by_cell(const Load& load, ValueType value, Storage storage, const void* in,
                          void* out) {
  if (is_coded(storage)) {
    const CodedLoad coded(load, value, storage, in, out);
    std::vector<uint8_t> cells(static_cast<size_t>(coded.cell_bytes()));
    coded.encode(0, coded.pieces(), cells.data());
    corrupt_cell_by_cell(coded.of_cells(), ValueType::kUint8, Storage::kUint8, cells.data(),
                         cells.data());
    coded.decode(0, coded.pieces(), cells.data());
    return;
  }
  visit_codec(value, storage, [&]<ValueType kValue, Storage kStorage>() {
    read_elements<Codec<kValue, kStorage>>(load, static_cast<const char*>(in),
                                           static_cast<char*>(out));
  });
}

}  // namespace eden
