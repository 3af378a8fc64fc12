#include "memory/corrupt/kept_flips.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <iterator>
#include <string_view>
#include <utility>

#include "memory/weak_cells.h"

namespace eden {
namespace {

// Larger tables take longer to compare than cells take to find.
constexpr int64_t kLargestTable = int64_t{1} << 17;

// A list of no cells takes some bytes, too.
constexpr size_t kSmall = size_t{1} << 12;

bool worth_keeping(const Region& region) {
  switch (region.model) {
    case ModelKind::kBitline:
      return true;
    case ModelKind::kCell:
    case ModelKind::kWordline:
      // Which reads of weak cells fail costs as much as to find them.
      return region.failure == kAlways;
    case ModelKind::kMap:
      return false;  // is a list already
  }
  return false;
}

// What a load's weak cells follow from, or nothing if they are not worth keeping.
std::vector<int64_t> key_of(const Load& load, int64_t tables, int width) {
  bool lines = false, any = false;
  for (int64_t i = 0; i < load.region_count; ++i) {
    const Region region = load.region(i);
    if (!worth_keeping(region)) return {};
    lines = lines || region.model != ModelKind::kCell;
    any = any || region.model != ModelKind::kCell || region.sparse[0] != 0 || region.sparse[1] != 0;
  }
  if (!any || (lines && tables > kLargestTable)) return {};
  const int64_t fields = load.region_count * kRegionFields;
  std::vector<int64_t> key{static_cast<int64_t>(load.chip), load.shape.sample_size(), width};
  key.insert(key.end(), load.regions, load.regions + fields);
  if (lines) key.insert(key.end(), load.table, load.table + tables);
  return key;
}

// Of a list of weak cells that it is worth to keep.
size_t most_bytes(const Load& load, int width) {
  bool lines = false;
  for (int64_t i = 0; i < load.region_count; ++i) {
    lines = lines || load.region(i).model != ModelKind::kCell;
  }
  const auto cells = static_cast<size_t>(load.shape.sample_size()) * static_cast<size_t>(width);
  // Cells of their own are found as fast as masks are made of a list of them.
  return kSmall + (lines ? cells / 8 : cells / kCellsPerFlipInList * sizeof(FlippedElement));
}

uint64_t hash_of(const std::vector<int64_t>& key) {
  const auto* bytes = reinterpret_cast<const char*>(key.data());
  return std::hash<std::string_view>()({bytes, key.size() * sizeof(int64_t)});
}

}  // namespace

void KeptLoad::enter(int64_t which, const PatchFlips& flips, const PatchGrid& grid,
                     const Patch& patch, int width) {
  Entry& entry = patches_[static_cast<size_t>(which)];
  std::call_once(entry.once, [&] {
    entry.flips = flips.listed();
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
          entry.flips.push_back({address, static_cast<uint32_t>((zero[word] >> shift) & field),
                                 static_cast<uint32_t>((one[word] >> shift) & field)});
        }
      }
    }
    entry.flips.shrink_to_fit();
  });
}

size_t KeptLoad::bytes() const {
  size_t bytes = sizeof(*this) + patches_.capacity() * sizeof(Entry);
  for (const Entry& entry : patches_) bytes += entry.flips.capacity() * sizeof(FlippedElement);
  return bytes;
}

void RecalledFlips::recall(const std::vector<FlippedElement>& kept, const Load& load,
                           const Region& region, const Patch& patch, bool listable) {
  for (const size_t word : dirty_) {
    zero_[word] = 0;
    if (!symmetric_) one_[word] = 0;
  }
  dirty_.clear();
  failing_ = &kept;
  if (region.failure != kAlways) {
    keep_failing(kept, load, region);
    failing_ = &own_;
  }
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

FlipCache::Answer FlipCache::find(const Load& load, int64_t tables, int width, int64_t patches) {
  Answer answer;
  if (capacity_ == 0) return answer;
  answer.key = key_of(load, tables, width);
  if (answer.key.empty()) return answer;
  answer.most_bytes = most_bytes(load, width);
  const uint64_t hash = hash_of(answer.key);
  const std::lock_guard guard(mutex_);
  ++calls_;
  const auto entry = entry_of(hash, answer.key);
  if (entry != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, entry);
    entry->used = calls_;
    answer.kept = entry->kept;
    return answer;
  }
  if (!seen_.contains(hash)) {
    seen_.enter(hash);
  } else if (!refused_.contains(hash)) {
    answer.wanted = std::make_shared<KeptLoad>(patches);
  }
  return answer;
}

void FlipCache::keep(Answer&& answer) {
  if (answer.wanted == nullptr) return;
  const uint64_t hash = hash_of(answer.key);
  const size_t of_list = answer.wanted->bytes();
  const size_t bytes = sizeof(Entry) + answer.key.capacity() * sizeof(int64_t) + of_list;
  // What goes is freed after the lock.
  std::list<Entry> fresh, forgotten;
  fresh.push_back({hash, std::move(answer.key), std::move(answer.wanted), bytes, 0});
  const std::lock_guard guard(mutex_);
  const auto forget = [&](std::list<Entry>::iterator entry) {
    bytes_ -= entry->bytes;
    by_hash_.erase(entry->hash);
    forgotten.splice(forgotten.begin(), entries_, entry);
  };
  // Of another key too, should two have one hash.
  if (const auto found = by_hash_.find(hash); found != by_hash_.end()) forget(found->second);
  while (!entries_.empty() && bytes_ + bytes > capacity_ &&
         calls_ - entries_.back().used >= kStale) {
    forget(std::prev(entries_.end()));
  }
  if (of_list > answer.most_bytes || bytes_ + bytes > capacity_) {
    refused_.enter(hash);
    return;
  }
  bytes_ += bytes;
  fresh.front().used = calls_;
  by_hash_.emplace(hash, fresh.begin());
  entries_.splice(entries_.begin(), fresh);
}

bool FlipCache::Hashes::contains(uint64_t hash) const {
  return std::find(hashes_.begin(), hashes_.end(), hash) != hashes_.end();
}

void FlipCache::Hashes::enter(uint64_t hash) {
  if (hashes_.size() < kStale) {
    hashes_.push_back(hash);
    return;
  }
  hashes_[oldest_] = hash;
  oldest_ = (oldest_ + 1) % kStale;
}

void FlipCache::Hashes::clear() {
  hashes_.clear();
  oldest_ = 0;
}

std::list<FlipCache::Entry>::iterator FlipCache::entry_of(uint64_t hash,
                                                          const std::vector<int64_t>& key) {
  const auto found = by_hash_.find(hash);
  return found != by_hash_.end() && found->second->key == key ? found->second : entries_.end();
}

size_t FlipCache::bytes() const {
  const std::lock_guard guard(mutex_);
  return bytes_;
}

void FlipCache::clear() {
  std::list<Entry> forgotten;
  const std::lock_guard guard(mutex_);
  forgotten.swap(entries_);
  by_hash_.clear();
  seen_.clear();
  refused_.clear();
  bytes_ = 0;
}

}  // namespace eden
