#include "memory/corrupt/load_work.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "base/refusal.h"
#include "memory/region_check.h"
#include "memory/weak_cells.h"

namespace eden {
namespace {

// Large enough that the marks of deep levels, whose blocks span many patches, cost little; small
// enough for a cache.
constexpr uint64_t kPatchCells = uint64_t{1} << 21;
constexpr uint64_t kPatchElements = uint64_t{1} << 17;
constexpr uint64_t kColumnMultiple = 512;

// Smaller ones cost more than another thread brings.
constexpr uint64_t kLeastPatchCells = uint64_t{1} << 17;

// So many marks and their masks fit in a cache that is a core's own.
constexpr uint64_t kPatchMarks = uint64_t{1} << 14;

// Of the marks that are found, each cell's for itself; those of lines vary too much.
int shallowest_level(const Region& region) {
  if (region.model != ModelKind::kCell) return kLastLevel;
  return first_level(std::max(region.sparse[0], region.sparse[1]));
}

// A tensor of so many bytes and its source do not fit in a last cache of 32 MiB: nothing of the
// output would be left there for whoever reads it next, and a store through the caches reads what
// it overwrites. A constant, because what the C library says of the cache is off by ten on some
// machines.
constexpr int64_t kStreamedBytes = int64_t{16} << 20;

// The bits of a mask from one on, moved to the front of words of their own.
const uint64_t* mask_words(const uint64_t* mask, uint64_t bit, uint64_t bits,
                           std::vector<uint64_t>& scratch) {
  if (bit == 0) return mask;
  const uint64_t words = (bits + 63) / 64;
  const uint64_t shift = bit % 64;
  mask += bit / 64;
  scratch.resize(words + 1);
  // Words beyond the bits' last one are read (kSpareWords), and not used.
  for (uint64_t w = 0; w < words; ++w) {
    scratch[w] = shift == 0 ? mask[w] : (mask[w] >> shift) | (mask[w + 1] << (64 - shift));
  }
  scratch[words] = 0;
  return scratch.data();
}

// The same for what reads bytes: only a mask that does not begin one is moved.
const uint64_t* mask_from(const uint64_t* mask, uint64_t bit, uint64_t bits,
                          std::vector<uint64_t>& scratch) {
  if (mask == nullptr) return nullptr;
  if (bit % 8 != 0) return mask_words(mask, bit, bits, scratch);
  return reinterpret_cast<const uint64_t*>(reinterpret_cast<const char*>(mask) + bit / 8);
}

// Adds to counts as LoadWork::count says, for a run of elements in one codec.
template <class Codec>
void count_run(const char* in, int64_t count, int64_t first, const uint64_t* zero,
               const uint64_t* one, const Conversion& conversion, int64_t* counts) {
  constexpr int kBytes = Codec::kValueBits / 8;
  const bool corrects = conversion.correction != Correction::kNone;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, in + i * kBytes, kBytes);
    const int64_t channel = (first + i) / conversion.channel_inner % conversion.channels;
    const ElementCode code = Codec::code_of_channel(conversion, channel);
    word = corrects ? Codec::template stored<true>(word, code)
                    : Codec::template stored<false>(word, code);
    for (int bit = 0; bit < Codec::kWidthBits; ++bit) {
      const int64_t cell = i * Codec::kWidthBits + bit;
      const uint32_t stored = (word >> bit) & 1;
      const uint64_t* mask = stored != 0 ? one : zero;
      int64_t* of_bit = counts + (bit * 2 + static_cast<int>(stored)) * 2;
      ++of_bit[0];
      if (mask != nullptr) of_bit[1] += static_cast<int64_t>((mask[cell / 64] >> (cell % 64)) & 1);
    }
  }
}

// Throws for regions that cannot be followed.
void check_regions(const Load& load, uint64_t width) {
  const FoundFault found = find_fault(load, width);
  if (found.fault == RegionFault::kNone) return;
  if (found.fault == RegionFault::kAccess) {
    refuse_value("access", static_cast<int64_t>(load.access), "0 to 2^", kAccessBits, " - 1");
  }
  if (load.region_count < 1) refuse("region has no row");
  const Region region = load.region(found.region);
  std::string text = text_of("region ", found.region, " ", describe(found.fault), " (found: model ",
                             static_cast<int64_t>(region.model));
  const auto field = [&](const char* name, uint64_t value) {
    text += text_of(", ", name, " ", static_cast<int64_t>(value));
  };
  field("address", region.address);
  field("first bit", load.first_bit(found.region));
  field("end", region.end);
  switch (found.fault) {
    case RegionFault::kTable:
    case RegionFault::kShape:
      field("table kind", static_cast<uint64_t>(region.table_kind));
      field("entries from", static_cast<uint64_t>(region.table_first));
      field("entries", static_cast<uint64_t>(region.table_length));
      field("numbers in the table", static_cast<uint64_t>(load.table_size));
      field("row bits", region.row_bits);
      field("subarray rows", region.subarray_rows);
      break;
    case RegionFault::kCorrection:
      field("correction", static_cast<uint64_t>(region.correction));
      break;
    case RegionFault::kThreshold:
      field("sparse thresholds", region.sparse[0]);
      field("and", region.sparse[1]);
      break;
    default:
      break;
  }
  field("bits of an element", width);
  field("bits of the operand", static_cast<uint64_t>(load.shape.sample_size()) * width);
  refuse(text, ")");
}

}  // namespace

LoadWork::LoadWork(const Load& load, ValueType value, Storage storage, const void* in, void* out,
                   const simd::Kernels& kernels, int threads, const Rows& in_rows,
                   const Rows& out_rows)
    : load_(load),
      cells_(load),
      value_(value),
      storage_(storage),
      width_(mask_bits(storage)),
      value_bytes_(storage_bits(own_storage(value)) / 8),
      threads_(threads),
      in_(static_cast<const char*>(in)),
      out_(static_cast<char*>(out)),
      in_rows_(in_rows),
      out_rows_(out_rows),
      kernels_(kernels),
      apply_(kernels.apply(value, storage)) {
  if (apply_ == nullptr) refuse("this type cannot be kept in this storage");
  if (is_coded(storage)) {
    coded_.emplace(load, value, storage, in, out);
    cells_ = coded_->of_cells();
  }
  // With a code float32 alone is: a NaN of others goes through float32.
  const bool own = storage == own_storage(value) ||
                   (storage == Storage::kFloat32Secded && value == ValueType::kFloat32);
  plain_ = own && load.conversion.correction == Correction::kNone;
  streams_ =
      in != out && load.shape.sample_size() * load.shape.batch * value_bytes_ >= kStreamedBytes;
  const int cell_width = width();
  const auto elements = static_cast<uint64_t>(cells_.shape.sample_size());
  check_regions(cells_, static_cast<uint64_t>(cell_width));
  if (in_planes()) add_words();
  for (int64_t i = 0; elements != 0 && i < load.region_count; ++i) {
    const Region region = load.region(i);
    const uint64_t first = load.first_bit(i);
    const uint64_t bits = elements * plane_bits(region.plane, static_cast<uint64_t>(cell_width));
    if (first < bits) {
      const uint64_t end = std::min(region.end, bits);
      int64_t none = 0;
      if (!in_planes()) {
        add_segment(segments_, patches_, region, first, end);
      } else if (region.model == ModelKind::kBitline) {
        add_segment(plane_lines_, plane_patches_, region, first, end);
      } else {
        add_segment(plane_segments_, none, region, first, end);
      }
    }
    if (!load.in_planes() && region.end >= bits) break;  // of whole words nothing follows
  }
}

// The words of an operand in planes, or of a code, in chunks.
void LoadWork::add_words() {
  const auto width = static_cast<uint64_t>(width_);
  const uint64_t bits = static_cast<uint64_t>(load_.shape.sample_size()) * width;
  if (bits == 0) return;
  uint64_t columns = patch_cells(bits, kLastLevel);
  if (coded_) {
    int level = kLastLevel;
    for (int64_t i = 0; i < load_.region_count; ++i) {
      level = std::min(level, shallowest_level(load_.region(i)));
    }
    const CodeBlock unit = chunk_unit(storage_);
    const auto unit_cells = static_cast<uint64_t>(8 * unit.bytes);
    const auto cells = static_cast<uint64_t>(cells_.shape.sample_size()) * 8;
    uint64_t units = std::bit_floor(std::max(unit_cells, patch_cells(cells, level)) / unit_cells);
    if (unit.words != code_block(storage_).words) {
      units = std::max(units, static_cast<uint64_t>(TripledSign::kTileBytes / unit.bytes));
    }
    columns = units * static_cast<uint64_t>(unit.words) * width;
  }
  const PatchGrid grid = PatchGrid::cut(region_of_found(), bits, columns, kColumnMultiple);
  segments_.push_back({region_of_found(), WeakLines{}, grid, 0, 0});
  patches_ = grid.patches;
}

// Cells of a patch of so many, for whose marks the shallowest level is known.
uint64_t LoadWork::patch_cells(uint64_t bits, int level) const {
  // Each plane's marks are found anew in each chunk, which narrow values let be longer.
  const uint64_t elements =
      in_planes() ? kPatchElements * 4 / static_cast<uint64_t>(value_bytes_) : kPatchElements;
  const uint64_t most = std::min(kPatchCells, elements * static_cast<uint64_t>(width_));
  // Of each of the samples, whose pieces threads take, too; a power of two, as all of these.
  const uint64_t samples = static_cast<uint64_t>(std::max<int64_t>(1, load_.shape.batch));
  const uint64_t pieces = threads_ > 1 ? 2 * static_cast<uint64_t>(threads_) : 1;
  const uint64_t wanted = (pieces + samples - 1) / samples;
  const uint64_t share = std::max(kLeastPatchCells, std::bit_floor(bits / wanted));
  return std::min({most, share, kPatchMarks << level});
}

void LoadWork::add_segment(std::vector<Segment>& segments, int64_t& patches, const Region& region,
                           uint64_t first, uint64_t end) const {
  if (end == first) return;
  const uint64_t cells = patch_cells(end - first, shallowest_level(region));
  const PatchGrid grid = PatchGrid::cut(region, end - first, cells, kColumnMultiple);
  const bool lines = region.model == ModelKind::kBitline || region.model == ModelKind::kWordline;
  segments.push_back(
      {region, lines ? weak_lines(region, load_.table) : WeakLines{}, grid, patches, first});
  patches += grid.patches;
}

int64_t LoadWork::elements_per_piece() const {
  return std::max<int64_t>(1, load_.shape.sample_size() / std::max<int64_t>(1, patches_));
}

const LoadWork::Segment& LoadWork::segment_of(const std::vector<Segment>& segments, int64_t patch) {
  size_t at = segments.size() - 1;
  while (segments[at].first_patch > patch) --at;
  return segments[at];
}

template <class Flips, class Find>
void LoadWork::run_with(int64_t first_piece, int64_t last_piece, Flips& flips, Find&& find) const {
  int64_t found = -1;
  const Segment* segment = nullptr;
  Patch patch{};
  for (int64_t piece = first_piece; piece < last_piece; ++piece) {
    const int64_t which = piece / load_.shape.batch, sample = piece % load_.shape.batch;
    if (which != found) {
      segment = &segment_of(segments_, which);
      patch = segment->grid.patch(which - segment->first_patch);
      if (patch.rows != 0) find(*segment, patch, which);
      found = which;
    }
    if (patch.rows != 0) pass(*segment, patch, flips, sample);
  }
}

void LoadWork::run(int64_t first_piece, int64_t last_piece) const {
  static thread_local PatchFlips flips;
  run_with(first_piece, last_piece, flips,
           [&](const Segment& segment, const Patch& patch, int64_t) {
             flips.find(kernels_, load_, segment.region, segment.weak_lines, segment.grid, patch,
                        width_, listable(), cells_per_bit());
           });
}

void LoadWork::run_kept(int64_t first_piece, int64_t last_piece, const KeptLoad& kept) const {
  static thread_local RecalledFlips flips;
  run_with(first_piece, last_piece, flips,
           [&](const Segment& segment, const Patch& patch, int64_t which) {
             flips.recall(kept.patch(which), load_, segment.region, patch, listable());
           });
}

void LoadWork::run_and_keep(int64_t first_piece, int64_t last_piece, KeptLoad& kept) const {
  static thread_local PatchFlips found;
  static thread_local RecalledFlips flips;
  static thread_local std::vector<FlippedElement> own;
  run_with(first_piece, last_piece, flips,
           [&](const Segment& segment, const Patch& patch, int64_t which) {
             Region weak = segment.region;
             weak.failure = kAlways;
             found.find(kernels_, load_, weak, segment.weak_lines, segment.grid, patch, width_,
                        true);
             flips.recall(kept.enter(which, found, segment.grid, patch, width_, own), load_,
                          segment.region, patch, listable());
           });
}

PlaneFlips LoadWork::plane_flips() const {
  const uint64_t cells = segments_.empty() ? 1 : segments_[0].grid.columns;
  const auto words = static_cast<uint64_t>(coded_ ? chunk_unit(storage_).words : 1);
  return {plane_patches_, std::max<uint64_t>(1, cells / static_cast<uint64_t>(width_) / words)};
}

void LoadWork::find_planes(int64_t first_patch, int64_t last_patch, const KeptLoad* kept,
                           KeptLoad* wanted, PlaneFlips& flips) const {
  static thread_local PatchFlips found;
  static thread_local RecalledFlips recalled;
  static thread_local std::vector<FlippedElement> own;
  static thread_local std::vector<uint32_t> of_value[2];
  for (int64_t which = first_patch; which < last_patch; ++which) {
    const Segment& segment = segment_of(plane_lines_, which);
    const Region& region = segment.region;
    const Patch patch = segment.grid.patch(which - segment.first_patch);
    if (patch.rows == 0) continue;
    // Numbers among the plane's bits, from the patch's first cell of the region on.
    const PatchGrid& grid = segment.grid;
    const uint64_t begin = std::max(patch.origin, grid.begin);
    const uint64_t first = begin - region.address + segment.first_bit;
    const auto end = static_cast<uint32_t>(grid.run_end(patch, patch.rows - 1) - begin);
    const auto bits = static_cast<uint32_t>(plane_unit(region));
    // Kept cell by cell, since a plane's elements need not divide a word of a mask.
    if (wanted != nullptr) {
      Region all = region;
      all.failure = kAlways;
      found.find(kernels_, load_, all, segment.weak_lines, grid, patch, 1, true);
    }
    if (wanted != nullptr || kept != nullptr) {
      const std::vector<FlippedElement>& weak =
          wanted != nullptr ? wanted->enter(which, found, grid, patch, 1, own) : kept->patch(which);
      const std::vector<FlippedElement>& cells = recalled.failing_cells(weak, load_, region);
      if (!by_value(region.table_kind)) {
        flips.enter(which, true, bits, first, end, cells.size(), [&cells, begin](size_t i) {
          return 2 * static_cast<uint32_t>(cells[i].address - begin);
        });
        continue;
      }
      for (std::vector<uint32_t>& entries : of_value) entries.clear();
      for (const FlippedElement& cell : cells) {
        const uint32_t alone = cell.zero == 0 || cell.one == 0 ? 1 : 0;
        of_value[cell.one == 0 ? 0 : 1].push_back(2 * static_cast<uint32_t>(cell.address - begin) +
                                                  alone);
      }
      for (const bool stored : {false, true}) {
        const std::vector<uint32_t>& entries = of_value[stored];
        flips.enter(which, stored, bits, first, end, entries.size(),
                    [&entries](size_t i) { return entries[i]; });
      }
      continue;
    }
    found.gather(kernels_, load_, region, segment.weak_lines, grid, patch, true);
    const int shift = found.row_shift();
    const uint32_t further = static_cast<uint32_t>(patch.stride) - (uint32_t{1} << shift);
    const auto lead = static_cast<uint32_t>(begin - patch.origin);
    for (const bool stored : {true, false}) {
      const simd::FoundCells& cells = stored ? found.cells() : found.weaker();
      if (!stored && cells.size == 0) continue;
      flips.enter(which, stored, bits, first, end, cells.size,
                  [&cells, shift, further, lead](size_t i) {
                    const uint32_t cell = cells.cell[i], place = cell >> 1;
                    return 2 * (place + (place >> shift) * further - lead) + (cell & 1);
                  });
    }
  }
}

// Bits of an element in a plane, or cells of what chunks of a code are a multiple of.
uint64_t LoadWork::plane_unit(const Region& region) const {
  if (coded_) return static_cast<uint64_t>(8 * chunk_unit(storage_).bytes);
  return static_cast<uint64_t>(std::popcount(region.plane));
}

// Whether every flip is one whatever its cell stores.
bool LoadWork::symmetric() const {
  const auto is_symmetric = [](const Segment& segment) {
    const Region& region = segment.region;
    return region.model != ModelKind::kMap && !by_value(region.table_kind) &&
           region.sparse[0] == region.sparse[1] && region.dense[0] == region.dense[1];
  };
  return std::all_of(plane_segments_.begin(), plane_segments_.end(), is_symmetric) &&
         std::all_of(plane_lines_.begin(), plane_lines_.end(), is_symmetric);
}

// All flips of a chunk: cells_of(region) are the chunk's first bit in the region's plane, or of the
// cells of a code, and the one behind its last.
template <class CellsOf>
void LoadWork::gather(const PlaneFlips& lines, CellsOf&& cells_of, JoinedFlips& flips) const {
  static thread_local PatchFlips of_thread;
  PatchFlips& found = of_thread;  // which takes a call each time to look up
  const auto layout = [&](const Region& region) {
    return coded_ ? plane_layout(0xff, 8) : plane_layout(region.plane, width_);
  };
  // The chunk's bits that lie in a region.
  const auto bits_in = [&](const Segment& segment) {
    const auto [first, end] = cells_of(segment.region);
    const uint64_t size = segment.grid.end - segment.grid.begin;
    return std::pair(std::max(first, segment.first_bit), std::min(end, segment.first_bit + size));
  };
  for (const Segment& segment : plane_lines_) {
    const auto [low, high] = bits_in(segment);
    if (low >= high) continue;
    const simd::PlaneLayout plane = layout(segment.region);
    const uint64_t address = segment.region.address - segment.first_bit;
    const auto [begin_patch, end_patch] = segment.grid.patches_of(address + low, address + high);
    const auto [first, end] = cells_of(segment.region);
    const uint64_t chunk_bits = lines.chunk_bits(plane_unit(segment.region));
    for (uint64_t chunk = first / chunk_bits; chunk * chunk_bits < end; ++chunk) {
      const auto up = static_cast<int64_t>(chunk * chunk_bits - first);
      for (int64_t i = begin_patch; i < end_patch; ++i) {
        for (const bool stored : {false, true}) {
          const int64_t which = segment.first_patch + i;
          flips.add(plane, lines.of(which, stored, static_cast<int64_t>(chunk)), stored, up);
        }
      }
    }
  }
  for (const Segment& segment : plane_segments_) {
    const auto [low, high] = bits_in(segment);
    if (low >= high) continue;
    PatchGrid grid = segment.grid;
    grid.begin = segment.region.address + low - segment.first_bit;
    grid.end = grid.begin + high - low;
    grid.columns = high - low;
    found.gather(kernels_, load_, segment.region, segment.weak_lines, grid, grid.patch(0));
    // The chunk begins with an element, the region perhaps within one.
    flips.add(layout(segment.region), found, high - low,
              static_cast<uint32_t>(low - cells_of(segment.region).first));
  }
}

// All flips of a chunk of words, which is a patch of the words.
void LoadWork::join(const Segment& chunk, const Patch& patch, const PlaneFlips& lines,
                    bool listable, JoinedFlips& flips) const {
  const auto width = static_cast<uint64_t>(width_);
  const uint64_t first = chunk.grid.run_begin(patch, 0), end = chunk.grid.run_end(patch, 0);
  flips.begin(kernels_, end - first, symmetric());
  gather(
      lines,
      [&](const Region& region) {
        const uint64_t bits = plane_unit(region);
        return std::pair(first / width * bits, end / width * bits);
      },
      flips);
  flips.end(first, width, listable);
}

void LoadWork::decode(const Segment& chunk, const Patch& patch, const PlaneFlips& lines,
                      CodedFlips& flips) const {
  const int64_t first = static_cast<int64_t>(chunk.grid.run_begin(patch, 0)) / width_;
  const int64_t end = static_cast<int64_t>(chunk.grid.run_end(patch, 0)) / width_;
  flips.begin(kernels_, *coded_, {first, end - first}, symmetric());
  gather(
      lines, [&](const Region&) { return std::pair(8 * flips.first_byte(), 8 * flips.end_byte()); },
      flips.cells());
  flips.end(listable());
}

void LoadWork::run_planes(int64_t first_piece, int64_t last_piece, const PlaneFlips& lines) const {
  if (coded_) {
    static thread_local CodedFlips flips;
    return run_with(first_piece, last_piece, flips,
                    [&](const Segment& segment, const Patch& patch, int64_t) {
                      decode(segment, patch, lines, flips);
                    });
  }
  static thread_local JoinedFlips flips;
  run_with(first_piece, last_piece, flips,
           [&](const Segment& segment, const Patch& patch, int64_t) {
             join(segment, patch, lines, listable(), flips);
           });
}

template <class Flips>
void LoadWork::pass(const Segment& segment, const Patch& patch, Flips& flips,
                    int64_t sample) const {
  if constexpr (std::is_same_v<Flips, CodedFlips>) flips.read(sample);
  const int width_log2 = std::countr_zero(static_cast<unsigned>(width_));
  const auto element_of = [&](uint64_t address) {
    return static_cast<int64_t>((address - segment.region.address + segment.first_bit) >>
                                width_log2);
  };
  static thread_local std::vector<simd::FlipRun> plain_runs;
  plain_runs.clear();
  for (uint32_t row = 0; row < patch.rows; ++row) {
    const uint64_t begin = segment.grid.run_begin(patch, row);
    const int64_t first = element_of(begin);
    const int64_t last = element_of(segment.grid.run_end(patch, row));
    pass_run(sample, first, last - first, begin - patch.origin - row * patch.stride,
             flips.masked() ? flips.zero(row) : nullptr, flips.masked() ? flips.one(row) : nullptr,
             plain_runs);
  }
  kernels_.flip(plain_runs.data(), plain_runs.size(), streams_);
  if constexpr (std::is_same_v<Flips, PatchFlips>) {
    if (flips.alone()) {
      const int64_t at = sample * load_.shape.inner * value_bytes_;
      return flips.turn(in_ + at, out_ + at,
                        patch.origin - segment.region.address + segment.first_bit);
    }
  }
  for (const FlippedElement& element : flips.listed()) {
    const int64_t first = element_of(element.address);
    const int64_t at = load_.shape.tensor_index(sample, first);
    if (plain_) {
      flip_element(read_at(at), written_at(at), element);
      continue;
    }
    const uint64_t zero[2] = {element.zero, 0}, one[2] = {element.one, 0};
    apply_({read_at(at), written_at(at), 1, first, zero, one}, load_.conversion);
  }
  if constexpr (std::is_same_v<Flips, CodedFlips>) {
    coded_->replace_detected(sample, flips.detected());
  }
}

void LoadWork::flip_element(const char* in, char* out, const FlippedElement& element) const {
  const auto flip = [&]<class Word>(Word word) {
    std::memcpy(&word, in, sizeof(word));
    word = static_cast<Word>(word ^ ((word & static_cast<Word>(element.one)) |
                                     (static_cast<Word>(~word) & static_cast<Word>(element.zero))));
    std::memcpy(out, &word, sizeof(word));
  };
  switch (value_bytes_) {
    case 4:
      return flip(uint32_t{});
    case 2:
      return flip(uint16_t{});
    default:
      return flip(uint8_t{});
  }
}

void LoadWork::pass_run(int64_t sample, int64_t first, int64_t count, uint64_t first_bit,
                        const uint64_t* zero, const uint64_t* one,
                        std::vector<simd::FlipRun>& plain_runs) const {
  static thread_local std::vector<uint64_t> zero_scratch, one_scratch;
  const LoadShape& shape = load_.shape;
  const auto width = static_cast<uint64_t>(width_);
  for (int64_t done = 0; done < count;) {
    const int64_t index = first + done;
    const int64_t at = shape.tensor_index(sample, index);
    int64_t length = std::min({count - done, in_rows_.left(at), out_rows_.left(at)});
    if (shape.outer != 1) length = std::min(length, shape.inner - index % shape.inner);
    const char* const in = read_at(at);
    char* const out = written_at(at);
    const uint64_t bit = first_bit + static_cast<uint64_t>(done) * width;
    const uint64_t bits = static_cast<uint64_t>(length) * width;
    if (plain_) {
      // Words of whole bytes, whose masks need not be moved.
      const auto from = [bit](const uint64_t* mask) {
        return mask == nullptr ? nullptr : reinterpret_cast<const char*>(mask) + bit / 8;
      };
      if (zero != nullptr || in_ != out_) {
        plain_runs.push_back(
            {in, out, static_cast<size_t>(length * value_bytes_), from(zero), from(one)});
      }
    } else {
      const uint64_t* of_zero = mask_from(zero, bit, bits, zero_scratch);
      const uint64_t* of_one = zero == one ? of_zero : mask_from(one, bit, bits, one_scratch);
      apply_({in, out, length, index, of_zero, of_one}, load_.conversion);
    }
    done += length;
  }
}

template <class Flips>
void LoadWork::count_patch(const Segment& segment, const Patch& patch, const Flips& flips,
                           int64_t* counts) const {
  auto* of = &count_run<Codec<ValueType::kFloat32, Storage::kFloat32>>;
  visit_codec(value_, storage_, [&]<ValueType kValue, Storage kStorage>() {
    of = &count_run<Codec<kValue, kStorage>>;
  });
  const auto width = static_cast<uint64_t>(width_);
  const LoadShape& shape = load_.shape;
  std::vector<uint64_t> zero_scratch, one_scratch;
  for (uint32_t row = 0; row < patch.rows; ++row) {
    const uint64_t begin = segment.grid.run_begin(patch, row) - segment.region.address;
    const uint64_t end = segment.grid.run_end(patch, row) - segment.region.address;
    const uint64_t lead = begin + segment.region.address - patch.origin - row * patch.stride;
    const auto first = static_cast<int64_t>((begin + segment.first_bit) / width);
    const auto count = static_cast<int64_t>((end - begin) / width);
    for (int64_t sample = 0; sample < shape.batch; ++sample) {
      for (int64_t done = 0, length = 0; done < count; done += length) {
        const int64_t index = first + done;
        length =
            shape.outer == 1 ? count : std::min(count - done, shape.inner - index % shape.inner);
        const uint64_t bit = lead + static_cast<uint64_t>(done) * width;
        const uint64_t bits = static_cast<uint64_t>(length) * width;
        const bool any = flips.masked();
        of(in_ + shape.tensor_index(sample, index) * value_bytes_, length, index,
           any ? mask_words(flips.zero(row), bit, bits, zero_scratch) : nullptr,
           any ? mask_words(flips.one(row), bit, bits, one_scratch) : nullptr, load_.conversion,
           counts);
      }
    }
  }
}

void LoadWork::count(int64_t* counts) const {
  if (coded_) refuse("of a code of several words the bytes of its cells are to be counted");
  PatchFlips found;
  JoinedFlips joined;
  PlaneFlips lines = plane_flips();
  find_planes(0, plane_patches_, nullptr, nullptr, lines);
  for (int64_t which = 0; which < patches_; ++which) {
    const Segment& segment = segment_of(segments_, which);
    const Patch patch = segment.grid.patch(which - segment.first_patch);
    if (patch.rows == 0) continue;
    if (in_planes()) {
      join(segment, patch, lines, false, joined);
      count_patch(segment, patch, joined, counts);
    } else {
      found.find(kernels_, load_, segment.region, segment.weak_lines, segment.grid, patch, width_,
                 false);
      count_patch(segment, patch, found, counts);
    }
  }
}

}  // namespace eden
