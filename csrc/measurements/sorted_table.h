// Values by 64-bit key in ascending order of the keys. What is new waits in the order in which it
// came and is merged in when it is half as much as what is there, so that an entry moves three
// times on average. Tools print addresses mostly in ascending order: then nothing is sorted, and
// what lies behind all that is there moves nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace eden::measurements {

struct Entry {
  uint64_t key;
  uint64_t value;
};

inline bool by_key(const Entry& a, const Entry& b) { return a.key < b.key; }

// A vector that grows where it is if it can: a table of 100 MB is not copied and its memory not
// asked for anew. What resize() adds is not initialized.
class Entries {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return capacity_; }
  Entry* begin() { return data_.get(); }
  Entry* end() { return data_.get() + size_; }
  const Entry* begin() const { return data_.get(); }
  const Entry* end() const { return data_.get() + size_; }
  Entry& operator[](size_t i) { return data_[i]; }
  const Entry& operator[](size_t i) const { return data_[i]; }
  const Entry& front() const { return data_[0]; }
  Entry& back() { return data_[size_ - 1]; }
  const Entry& back() const { return data_[size_ - 1]; }

  void push_back(Entry entry) {
    resize(size_ + 1);
    back() = entry;
  }
  void resize(size_t size) {
    if (size > capacity_) reallocate(std::max(size, capacity_ + capacity_ / 2 + 16));
    size_ = size;
  }
  // Gives memory back where less than half of it is needed for so many.
  void shrink(size_t needed) {
    if (capacity_ / 2 > std::max(size_, needed)) reallocate(std::max(size_, needed));
  }
  void clear() { size_ = 0; }
  void swap(Entries& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  struct Free {
    void operator()(Entry* data) const { std::free(data); }
  };

  void reallocate(size_t capacity) {
    void* const data = std::realloc(data_.get(), std::max<size_t>(capacity, 1) * sizeof(Entry));
    if (data == nullptr) throw std::bad_alloc();
    static_cast<void>(data_.release());
    data_.reset(static_cast<Entry*>(data));
    capacity_ = capacity;
  }

  std::unique_ptr<Entry[], Free> data_;
  size_t size_ = 0, capacity_ = 0;
};

// Stable, digit by digit from the lowest; digits in which all keys agree are passed over.
inline void sort_by_key(Entries& entries, Entries& scratch) {
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
  const Entries& entries() const { return entries_; }
  size_t bytes() const { return (entries_.capacity() + waiting_.capacity()) * sizeof(Entry); }

  // merge() is called where it is time for it.
  template <class Merge>
  void push(uint64_t key, uint64_t value, Merge merge) {
    if (key < last_key_) {
      // Where a new pass begins, what waits needs no sort.
      if (ascending_ && (waiting_.size() >= most_ / 4 || all_behind())) merge();
      ascending_ = waiting_.empty();
    }
    last_key_ = key;
    waiting_.push_back({key, value});
    if (waiting_.size() < soon_) return;
    // Few are still in a cache. They are merged then already if that moves no others.
    soon_ = most_;
    if (waiting_.size() >= most_ || (ascending_ && all_behind())) merge();
  }
  // The last one that waits, if any.
  Entry* last() { return waiting_.empty() ? nullptr : &waiting_.back(); }

  // Those that wait, in ascending order of their keys, equal ones in that in which they came.
  Entries& sorted(Entries& scratch) {
    if (!ascending_) sort_by_key(waiting_, scratch);
    ascending_ = true;
    return waiting_;
  }

  template <class Keep>
  void keep_waiting_if(Keep keep) {
    erase(waiting_, keep);
  }

  // Merges what waits: join(entry, value) takes a further value of its key into an entry.
  template <class Join>
  void merge(Entries& scratch, Join join) {
    sorted(scratch);
    if (waiting_.empty()) return;
    const size_t old = entries_.size(), all = waiting_.size();
    size_t place = lower_bound(waiting_.front().key);
    // What is kept of waiting_: the entries with new keys.
    size_t kept = 0, next = 0;
    const auto joined = [&](const Entry& entry) {
      if (kept == 0 || waiting_[kept - 1].key != entry.key) return false;
      join(waiting_[kept - 1], entry.value);
      ++next;
      return true;
    };
    while (place < old && next < all) {
      const Entry entry = waiting_[next];
      if (entries_[place].key == entry.key) {
        join(entries_[place], entry.value);
        ++next;
      } else if (!joined(entry)) {
        // Which of them comes first cannot be foretold, so it is no branch.
        const size_t passed = entries_[place].key < entry.key;
        waiting_[kept] = entry;
        place += passed;
        kept += 1 - passed;
        next += 1 - passed;
      }
    }
    while (next < all) {
      const Entry entry = waiting_[next];
      if (joined(entry)) continue;
      waiting_[kept++] = entry;
      ++next;
    }
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
    waiting_.shrink(most_);
    last_key_ = 0;
  }

  // The merged entry of a key, which is there.
  Entry& at(uint64_t key) { return entries_[lower_bound(key)]; }

  template <class Keep>
  void keep_if(Keep keep) {
    erase(entries_, keep);
    entries_.shrink(0);
  }

  void clear() { *this = SortedTable(); }

 private:
  static constexpr size_t kFewest = 64;
  static constexpr size_t kSoon = size_t{1} << 14;
  static constexpr size_t kMost = size_t{1} << 21;

  // Whether merging moves nothing, of those that wait in ascending order.
  bool all_behind() const {
    return !waiting_.empty() && (entries_.empty() || entries_.back().key < waiting_.front().key);
  }

  size_t lower_bound(uint64_t key) const {
    return static_cast<size_t>(
        std::lower_bound(entries_.begin(), entries_.end(), Entry{key, 0}, by_key) -
        entries_.begin());
  }

  template <class Keep>
  static void erase(Entries& entries, Keep keep) {
    Entry* const end = std::remove_if(entries.begin(), entries.end(),
                                      [&](const Entry& entry) { return !keep(entry.key); });
    entries.resize(static_cast<size_t>(end - entries.begin()));
  }

  Entries entries_, waiting_;
  uint64_t last_key_ = 0;
  size_t soon_ = kFewest, most_ = kFewest;
  bool ascending_ = true;
};

}  // namespace eden::measurements
