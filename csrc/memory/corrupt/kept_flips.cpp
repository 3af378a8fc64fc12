#include "memory/corrupt/kept_flips.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "memory/weak_cells.h"

namespace eden {
namespace {

// A list of no cells takes some bytes, too.
constexpr size_t kSmall = size_t{1} << 12;

bool in_lines(const Region& region) {
  return region.model == ModelKind::kBitline || region.model == ModelKind::kWordline;
}

// Calls visit(region, cells of the operand in it) for those of lines that the operand reaches: only
// their tables are known to be there.
template <class Visit>
void for_lines(const Load& load, int width, Visit&& visit) {
  for (int64_t i = 0; i < load.region_count; ++i) {
    const Region region = load.region(i);
    const uint64_t first = load.first_bit(i);
    const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) *
                          plane_bits(region.plane, static_cast<uint64_t>(width));
    if (in_lines(region) && first < bits) visit(region, std::min(region.end, bits) - first);
  }
}

bool worth_keeping(const Region& region) {
  switch (region.model) {
    case ModelKind::kBitline:
      return true;
    case ModelKind::kCell: {
      // Masks are made of cells that are found as fast as of a list of so many.
      static const uint64_t most = weak_thresholds(1.0 / kCellsPerFlipInList).sparse;
      if (region.sparse[0] > most || region.sparse[1] > most) return false;
      // Which reads of weak cells fail costs as much as to find them.
      return region.failure == kAlways;
    }
    case ModelKind::kWordline:
      return region.failure == kAlways;
    case ModelKind::kMap:
      return false;  // is a list already
  }
  return false;
}

// Whether a load's weak cells are worth keeping; of an operand in planes, those of bitlines, since
// the others are not kept (load_work.h).
bool worth_keeping(const Load& load) {
  bool any = false;
  for (int64_t i = 0; i < load.region_count; ++i) {
    const Region region = load.region(i);
    if (load.in_planes() && region.model != ModelKind::kBitline) continue;
    if (!worth_keeping(region)) return false;
    any = any || in_lines(region) || region.sparse[0] != 0 || region.sparse[1] != 0;
  }
  return any;
}

// Of a list of weak cells that it is worth to keep.
size_t most_bytes(const Load& load, int width) {
  bool lines = false;
  for (int64_t i = 0; i < load.region_count; ++i) lines = lines || in_lines(load.region(i));
  const auto cells = static_cast<size_t>(load.shape.sample_size()) * static_cast<size_t>(width);
  // Cells of their own are found as fast as masks are made of a list of them.
  return kSmall + (lines ? cells / 8 : cells / kCellsPerFlipInList * sizeof(FlippedElement));
}

// All that a load's weak cells follow from, but of its lines a few: enough to see that another rate
// was written into a table.
Digester glance_at(const Load& load, int width, int64_t patches, bool of_cells) {
  constexpr int64_t kLooks = 16;
  Digester digester;
  const int64_t sizes[] = {static_cast<int64_t>(load.chip), load.shape.sample_size(), width,
                           patches, of_cells};
  digester.add(sizes, std::size(sizes));
  digester.add(load.regions, static_cast<size_t>(load.region_count * kRegionFields));
  for_lines(load, width, [&](const Region& region, uint64_t) {
    const int64_t entries = line_entries(region), step = (entries + kLooks - 1) / kLooks;
    for (int64_t entry = 0; entry < entries; entry += step) {
      digester.add(load.table + region.table_first + 2 * entry, 2);
    }
  });
  return digester;
}

// The entries of a table that the lines have in which cells of an operand lie.
void add_lines(const Load& load, const Region& region, uint64_t cells, Digester& digester) {
  const auto add = [&](uint64_t first, uint64_t count) {
    digester.add(load.table + region.table_first + 2 * static_cast<int64_t>(first), 2 * count);
  };
  const auto entries = static_cast<uint64_t>(line_entries(region));
  if (region.table_kind != TableKind::kMeasured) return add(0, entries);
  const uint64_t last_cell = region.address + cells - 1;
  uint64_t first = region.address / region.row_bits, last = last_cell / region.row_bits;
  if (region.model == ModelKind::kBitline) {
    // Lines of whole subarrays, where the operand has more than a part of a row.
    const bool one = first == last;
    first = first / region.subarray_rows * region.row_bits;
    last = last / region.subarray_rows * region.row_bits;
    first += one ? region.address % region.row_bits : 0;
    last += one ? last_cell % region.row_bits : region.row_bits - 1;
  }
  if (last - first + 1 >= entries) return add(0, entries);
  const uint64_t from = first % entries, to = last % entries;
  if (from <= to) return add(from, to - from + 1);
  add(from, entries - from);
  add(0, to + 1);
}

// The elements that found flips hit.
void list_elements(const PatchFlips& flips, const PatchGrid& grid, const Patch& patch, int width,
                   std::vector<FlippedElement>& list) {
  list = flips.listed();
  if (!flips.masked()) return;
  const auto w = static_cast<unsigned>(width);
  const uint64_t field = (uint64_t{1} << w) - 1;
  for (uint32_t row = 0; row < patch.rows; ++row) {
    const uint64_t base = patch.origin + row * patch.stride;
    const uint64_t begin = grid.run_begin(patch, row), end = grid.run_end(patch, row);
    const uint64_t *zero = flips.zero(row), *one = flips.one(row);
    for (uint64_t word = (begin - base) / 64; base + word * 64 < end; ++word) {
      for (uint64_t left = zero[word] | one[word]; left != 0;) {
        const unsigned shift = static_cast<unsigned>(std::countr_zero(left)) / w * w;
        const uint64_t address = base + word * 64 + shift;
        left &= ~(field << shift);
        // Cells of the patch that are other operands' can be in the masks, too.
        if (address < begin || address >= end) continue;
        list.push_back({address, static_cast<uint32_t>((zero[word] >> shift) & field),
                        static_cast<uint32_t>((one[word] >> shift) & field)});
      }
    }
  }
}

}  // namespace

const std::vector<FlippedElement>& KeptLoad::enter(int64_t which, const PatchFlips& flips,
                                                   const PatchGrid& grid, const Patch& patch,
                                                   int width, std::vector<FlippedElement>& own) {
  Entry& entry = patches_[static_cast<size_t>(which)];
  std::call_once(entry.once, [&] {
    if (!whole()) return;
    list_elements(flips, grid, patch, width, entry.flips);
    entry.flips.shrink_to_fit();
    entry.listed = true;
    listed_bytes_ += entry.flips.capacity() * sizeof(FlippedElement);
  });
  if (entry.listed) return entry.flips;
  list_elements(flips, grid, patch, width, own);
  return own;
}

size_t KeptLoad::bytes() const {
  return sizeof(*this) + patches_.capacity() * sizeof(Entry) + listed_bytes_.load();
}

void RecalledFlips::recall(const std::vector<FlippedElement>& kept, const Load& load,
                           const Region& region, const Patch& patch, bool listable) {
  for (const size_t word : dirty_) {
    zero_[word] = 0;
    if (!symmetric_) one_[word] = 0;
  }
  dirty_.clear();
  failing_ = &failing_cells(kept, load, region);
  const size_t cells = static_cast<size_t>(patch.rows) * patch.columns;
  const bool few = failing_->size() * kCellsPerFlipInList < cells;
  masked_ = !failing_->empty() && !(few && listable);
  if (!masked_) return;
  row_words_ = (static_cast<size_t>(patch.columns) + 63) / 64;
  const size_t words = row_words_ * patch.rows + kSpareWords;
  if (zero_.size() < words) zero_.resize(words);
  if (one_.size() < words) one_.resize(words);
  into_masks(patch);
}

void RecalledFlips::keep_failing(const std::vector<FlippedElement>& kept, const Load& load,
                                 const Region& region) {
  own_.clear();
  for (const FlippedElement& flip : kept) {
    // An element lies in one group.
    const auto place = static_cast<unsigned>(flip.address % kGroupCells);
    const uint32_t fails = failing(load.chip, flip.address >> kGroupBits, load.access,
                                   region.failure, (flip.zero | flip.one) << place) >>
                           place;
    if (fails != 0) own_.push_back({flip.address, flip.zero & fails, flip.one & fails});
  }
}

void RecalledFlips::into_masks(const Patch& patch) {
  symmetric_ = true;
  for (const FlippedElement& flip : *failing_) symmetric_ = symmetric_ && flip.zero == flip.one;
  dirty_.reserve(failing_->size());
  for (const FlippedElement& flip : *failing_) {
    const uint64_t away = flip.address - patch.origin;
    const uint64_t row = patch.stride == 0 ? 0 : away / patch.stride;
    const uint64_t bit = away - row * patch.stride;
    const size_t word = row * row_words_ + bit / 64;
    zero_[word] |= static_cast<uint64_t>(flip.zero) << (bit % 64);
    if (!symmetric_) one_[word] |= static_cast<uint64_t>(flip.one) << (bit % 64);
    dirty_.push_back(word);
  }
}

FlipCache::Answer FlipCache::find(const Load& load, int width, int64_t patches, bool of_cells) {
  Answer answer;
  if (capacity_ == 0 || !worth_keeping(load)) return answer;
  const uint64_t call = ++calls_;
  Digester digester = glance_at(load, width, patches, of_cells);
  answer.glance = digester.digest();
  if (refused_.contains(answer.glance)) return answer;
  if (!seen_.contains(answer.glance)) {
    seen_.enter(answer.glance);
    return answer;
  }
  for_lines(load, width, [&](const Region& region, uint64_t cells) {
    add_lines(load, region, cells, digester);
  });
  answer.key = digester.digest();
  {
    const std::lock_guard guard(mutex_);
    if (const auto found = by_key_.find(answer.key); found != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      found->second->used = call;
      answer.kept = found->second->kept;
      return answer;
    }
  }
  answer.wanted = std::make_shared<KeptLoad>(patches, std::min(capacity_, most_bytes(load, width)));
  return answer;
}

void FlipCache::keep(Answer&& answer) {
  if (answer.wanted == nullptr) return;
  const size_t bytes = sizeof(Entry) + answer.wanted->bytes();
  const bool whole = answer.wanted->whole();
  // What goes is freed after the lock.
  std::list<Entry> fresh, forgotten;
  fresh.push_back({answer.key, std::move(answer.wanted), bytes, calls_.load()});
  const std::lock_guard guard(mutex_);
  const auto forget = [&](std::list<Entry>::iterator entry) {
    bytes_ -= entry->bytes;
    by_key_.erase(entry->key);
    forgotten.splice(forgotten.begin(), entries_, entry);
  };
  if (const auto found = by_key_.find(answer.key); found != by_key_.end()) forget(found->second);
  while (whole && !entries_.empty() && bytes_ + bytes > capacity_ &&
         calls_.load() - entries_.back().used >= kStale) {
    forget(std::prev(entries_.end()));
  }
  if (!whole || bytes_ + bytes > capacity_) {
    refused_.enter(answer.glance);
    return;
  }
  bytes_ += bytes;
  by_key_.emplace(answer.key, fresh.begin());
  entries_.splice(entries_.begin(), fresh);
}

// An empty place is 0, as half of a digest is by chance alone.
bool FlipCache::Recent::contains(const Digest& digest) const {
  const auto& set = sets_[digest.low % kSets];
  return std::any_of(set.begin(), set.end(), [&](const std::atomic<uint64_t>& place) {
    return place.load(std::memory_order_relaxed) == digest.high;
  });
}

void FlipCache::Recent::enter(const Digest& digest) {
  auto& set = sets_[digest.low % kSets];
  for (size_t place = kInSet; --place != 0;) {
    set[place].store(set[place - 1].load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  set[0].store(digest.high, std::memory_order_relaxed);
}

void FlipCache::Recent::clear() {
  for (auto& set : sets_) {
    for (std::atomic<uint64_t>& place : set) place.store(0, std::memory_order_relaxed);
  }
}

size_t FlipCache::bytes() const {
  const std::lock_guard guard(mutex_);
  return bytes_;
}

void FlipCache::clear() {
  std::list<Entry> forgotten;
  const std::lock_guard guard(mutex_);
  forgotten.swap(entries_);
  by_key_.clear();
  seen_.clear();
  refused_.clear();
  bytes_ = 0;
}

}  // namespace eden
