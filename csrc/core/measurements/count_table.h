// Counts by 64-bit key: open addressing with linear probing, 16 bytes a slot, no deletion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace eden::measurements {

// The finalizer of SplitMix64 (Steele, Lea and Flood 2014). The table takes the low bits, samples
// of keys the high ones.
inline uint64_t hash_key(uint64_t key) {
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
  return key ^ (key >> 31);
}

class CountTable {
 public:
  static constexpr uint64_t kNoKey = ~uint64_t{0};

  size_t size() const { return size_; }
  size_t bytes() const { return capacity() * sizeof(Slot); }

  void prefetch(uint64_t hash) const {
    if (slots_) __builtin_prefetch(&slots_[hash & mask_], 1);
  }

  // The value of a key, 0 if it is new. Valid until the next call.
  uint64_t& at(uint64_t key, uint64_t hash) {
    if (4 * (size_ + 1) > 3 * capacity()) grow();
    Slot& slot = find(key, hash);
    if (slot.key == kNoKey) {
      slot.key = key;
      ++size_;
    }
    return slot.value;
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (size_t i = 0; i < capacity(); ++i) {
      if (slots_[i].key != kNoKey) visit(slots_[i].key, slots_[i].value);
    }
  }

  template <class Keep>
  void keep_if(Keep keep) {
    CountTable kept;
    for_each([&](uint64_t key, uint64_t value) {
      if (keep(key)) kept.at(key, hash_key(key)) = value;
    });
    *this = std::move(kept);
  }

  void clear() { *this = CountTable(); }

  CountTable() = default;
  CountTable(CountTable&& other) noexcept { *this = std::move(other); }
  CountTable& operator=(CountTable&& other) noexcept {
    slots_ = std::move(other.slots_);
    mask_ = std::exchange(other.mask_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

 private:
  struct Slot {
    uint64_t key = kNoKey;
    uint64_t value = 0;
  };

  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  using Slots = std::unique_ptr<Slot[], Free>;

  static Slots allocate(size_t capacity) {
    // A large table is met at random: with pages of 4 KiB, their addresses miss as often as it. For
    // smaller ones, huge pages take longer to get than they save.
    constexpr size_t kHugePage = size_t{1} << 21;
    const size_t bytes = capacity * sizeof(Slot);
    const bool huge = bytes >= 16 * kHugePage;
    void* const memory = std::aligned_alloc(huge ? kHugePage : alignof(Slot), bytes);
    if (memory == nullptr) throw std::bad_alloc();
#ifdef __linux__
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    Slots slots(static_cast<Slot*>(memory));
    std::uninitialized_fill_n(slots.get(), capacity, Slot());
    return slots;
  }

  size_t capacity() const { return slots_ ? mask_ + 1 : 0; }

  Slot& find(uint64_t key, uint64_t hash) {
    size_t i = hash & mask_;
    while (slots_[i].key != kNoKey && slots_[i].key != key) i = (i + 1) & mask_;
    return slots_[i];
  }

  void grow() {
    const size_t old_capacity = capacity();
    const size_t new_capacity = old_capacity == 0 ? 16 : 2 * old_capacity;
    const Slots old = std::exchange(slots_, allocate(new_capacity));
    mask_ = new_capacity - 1;
    for (size_t i = 0; i < old_capacity; ++i) {
      if (old[i].key != kNoKey) find(old[i].key, hash_key(old[i].key)) = old[i];
    }
  }

  Slots slots_;
  size_t mask_ = 0;
  size_t size_ = 0;
};

}  // namespace eden::measurements
