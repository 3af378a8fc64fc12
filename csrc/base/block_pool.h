// Memory for the results of reads, kept from one read to the next. The system hands out fresh pages
// one fault and one clearing at a time, which takes several times as long as the read itself.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>

#include "base/fork_lock.h"

namespace eden {

// Blocks of memory in size classes, eight to an octave. A block that is given back is kept for the
// next request of its class; when more than `capacity` bytes lie idle, those that have been idle
// for the longest go back to the system. Safe to use from several threads. A forked process has a
// pool that works, with the idle blocks of its parent.
class BlockPool {
 public:
  // Every block begins at a multiple of this many bytes.
  static constexpr std::size_t kAlignment = 4096;

  explicit BlockPool(std::size_t capacity);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A block of at least this many bytes, more than 0, with anything in it. Throws std::bad_alloc.
  void* take(std::size_t bytes);
  // Gives back a block, with the number of bytes that it was taken for.
  void give_back(void* block, std::size_t bytes) noexcept;
  // Returns all idle blocks to the system.
  void clear() noexcept;

  std::size_t capacity() const { return capacity_; }
  std::size_t idle_bytes() const;

  // Bytes of the blocks of a request's class: at most an eighth more than asked for, above 32 KiB.
  static std::size_t block_bytes(std::size_t bytes);

 private:
  // At the head of every idle block.
  struct Idle {
    std::size_t bytes;
    Idle *older, *newer;                    // of all
    Idle *older_of_class, *newer_of_class;  // of its class
  };

  void insert(Idle* idle);
  void remove(Idle* idle);
  // Unlinks idle blocks, the oldest first, until `bytes` are left; returns them chained by `newer`.
  Idle* remove_down_to(std::size_t bytes);
  static void unmap(Idle* chain) noexcept;

  // Blocks of 2^47 bytes exceed any address space.
  static constexpr std::size_t kClasses = 8 * 48;
  static std::size_t class_of(std::size_t block_bytes);

  const std::size_t capacity_;
  mutable ForkLock mutex_;
  std::size_t idle_bytes_ = 0;
  Idle* oldest_ = nullptr;
  Idle* newest_ = nullptr;
  std::array<Idle*, kClasses> newest_of_class_{};
};

}  // namespace eden
