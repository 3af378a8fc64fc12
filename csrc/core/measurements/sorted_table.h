// Values by 64-bit key in ascending order of the keys. What is new waits in the order in which it
// came and is merged in when it is half as much as what is there, so that an entry moves three
// times on average. Tools print addresses mostly in ascending order: then nothing is sorted, and
// what lies behind all that is there moves nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace eden::measurements {

struct Entry {
  uint64_t key;
  uint64_t value;
};

inline bool by_key(const Entry& a, const Entry& b) { return a.key < b.key; }

// Stable, digit by digit from the lowest; digits in which all keys agree are passed over.
inline void sort_by_key(std::vector<Entry>& entries, std::vector<Entry>& scratch) {
  constexpr int kDigit = 11;
  constexpr size_t kFew = 512;
  if (entries.size() < kFew) {
    std::stable_sort(entries.begin(), entries.end(), by_key);
    return;
  }
  uint64_t differing = 0;
  for (const Entry& entry : entries) differing |= entry.key ^ entries.front().key;
  for (int shift = 0; shift < 64; shift += kDigit) {
    constexpr uint64_t kMask = (uint64_t{1} << kDigit) - 1;
    if ((differing >> shift & kMask) == 0) continue;
    std::array<size_t, kMask + 1> place{};
    for (const Entry& entry : entries) ++place[entry.key >> shift & kMask];
    size_t before = 0;
    for (size_t& at : place) before += std::exchange(at, before);
    scratch.resize(entries.size());
    for (const Entry& entry : entries) scratch[place[entry.key >> shift & kMask]++] = entry;
    entries.swap(scratch);
  }
}

class SortedTable {
 public:
  // Those that are merged.
  const std::vector<Entry>& entries() const { return entries_; }
  size_t bytes() const { return (entries_.capacity() + waiting_.capacity()) * sizeof(Entry); }

  // Whether so many wait that they are to be merged.
  bool push(uint64_t key, uint64_t value) {
    ascending_ = ascending_ && (waiting_.empty() || key >= waiting_.back().key);
    waiting_.push_back({key, value});
    if (waiting_.size() < soon_) return false;
    // Few are still in a cache. They are merged then already if that moves no others.
    soon_ = most_;
    return waiting_.size() >= most_ ||
           (ascending_ && (entries_.empty() || entries_.back().key < waiting_.front().key));
  }
  // The last one that waits, if any.
  Entry* last() { return waiting_.empty() ? nullptr : &waiting_.back(); }

  // Those that wait, in ascending order of their keys, equal ones in that in which they came.
  std::vector<Entry>& sorted(std::vector<Entry>& scratch) {
    if (!ascending_) sort_by_key(waiting_, scratch);
    ascending_ = true;
    return waiting_;
  }

  template <class Keep>
  void keep_waiting_if(Keep keep) {
    std::erase_if(waiting_, [&](const Entry& entry) { return !keep(entry.key); });
  }

  // Merges what waits: first(entry) makes of the value of a new key that which is kept,
  // join(entry, value) takes a further one into it.
  template <class First, class Join>
  void merge(std::vector<Entry>& scratch, First first, Join join) {
    sorted(scratch);
    // What is kept of waiting_: the entries with new keys.
    size_t kept = 0;
    size_t place = waiting_.empty() ? 0 : lower_bound(waiting_.front().key);
    const size_t old = entries_.size();
    for (const Entry entry : waiting_) {
      while (place < old && entries_[place].key < entry.key) ++place;
      if (place < old && entries_[place].key == entry.key) {
        join(entries_[place], entry.value);
      } else if (kept > 0 && waiting_[kept - 1].key == entry.key) {
        join(waiting_[kept - 1], entry.value);
      } else {
        waiting_[kept] = entry;
        first(waiting_[kept++]);
      }
    }
    if (old + kept > entries_.capacity()) entries_.reserve(old + kept + (old + kept) / 4);
    entries_.resize(old + kept);
    // From the back, until all of the new ones have their place.
    for (size_t from = old, to = old + kept; kept > 0;) {
      const bool older = from > 0 && entries_[from - 1].key > waiting_[kept - 1].key;
      entries_[--to] = older ? entries_[from - 1] : waiting_[kept - 1];
      from -= older;
      kept -= !older;
    }
    waiting_.clear();
    most_ = std::clamp(entries_.size() / 2, kFewest, kMost);
    soon_ = std::min(most_, kSoon);
    if (waiting_.capacity() > 2 * most_) waiting_.shrink_to_fit();
  }

  // The merged entry of a key, which is there.
  Entry& at(uint64_t key) { return entries_[lower_bound(key)]; }

  template <class Keep>
  void keep_if(Keep keep) {
    std::erase_if(entries_, [&](const Entry& entry) { return !keep(entry.key); });
    entries_.shrink_to_fit();
  }

  void clear() { *this = SortedTable(); }

 private:
  static constexpr size_t kFewest = 64;
  static constexpr size_t kSoon = size_t{1} << 14;
  static constexpr size_t kMost = size_t{1} << 21;

  size_t lower_bound(uint64_t key) const {
    return static_cast<size_t>(
        std::lower_bound(entries_.begin(), entries_.end(), Entry{key, 0}, by_key) -
        entries_.begin());
  }

  std::vector<Entry> entries_, waiting_;
  size_t soon_ = kFewest, most_ = kFewest;
  bool ascending_ = true;
};

}  // namespace eden::measurements
