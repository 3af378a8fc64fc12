// Numbers by 64-bit key: open addressing with linear probing, 16 bytes a slot, no deletion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

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

  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

  // The value of a key, 0 if it is new. Valid until the next call.
  uint64_t& at(uint64_t key) {
    if (4 * (size_ + 1) > 3 * slots_.size()) grow();
    Slot& slot = find(key);
    if (slot.key == kNoKey) {
      slot.key = key;
      ++size_;
    }
    return slot.value;
  }

 private:
  struct Slot {
    uint64_t key = kNoKey;
    uint64_t value = 0;
  };

  Slot& find(uint64_t key) {
    const size_t mask = slots_.size() - 1;
    size_t i = hash_key(key) & mask;
    while (slots_[i].key != kNoKey && slots_[i].key != key) i = (i + 1) & mask;
    return slots_[i];
  }

  void grow() {
    const std::vector<Slot> old =
        std::exchange(slots_, std::vector<Slot>(slots_.empty() ? 16 : 2 * slots_.size()));
    for (const Slot& slot : old) {
      if (slot.key != kNoKey) find(slot.key) = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace eden::measurements
