#include "base/block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <new>

namespace eden {

BlockPool::BlockPool(std::size_t capacity) : capacity_(capacity) {}

BlockPool::~BlockPool() { clear(); }

std::size_t BlockPool::block_bytes(std::size_t bytes) {
  const std::size_t octave = bytes < 2 ? 1 : std::bit_floor(bytes - 1);
  const std::size_t step = std::max(kAlignment, octave / 8);
  return (bytes + step - 1) / step * step;
}

std::size_t BlockPool::class_of(std::size_t block_bytes) {
  // Blocks of 2^k (1 + j / 8) bytes, j from 1 to 8, are class j - 1 of octave k.
  const auto octave = static_cast<std::size_t>(std::bit_width(block_bytes - 1)) - 1;
  return 8 * octave + ((block_bytes - 1) >> (octave - 3)) - 8;
}

void* BlockPool::take(std::size_t bytes) {
  if (bytes > std::size_t{1} << 46) throw std::bad_alloc();
  const std::size_t size = block_bytes(bytes);
  {
    const std::lock_guard guard(mutex_);
    Idle* idle = newest_of_class_[class_of(size)];
    if (idle != nullptr) {
      remove(idle);
      return idle;
    }
  }
  void* block =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, /*fd=*/-1, 0);
  if (block == MAP_FAILED) {
    clear();
    block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, /*fd=*/-1, 0);
  }
  if (block == MAP_FAILED) throw std::bad_alloc();
  return block;
}

void BlockPool::give_back(void* block, std::size_t bytes) noexcept {
  auto* idle = new (block) Idle{block_bytes(bytes), nullptr, nullptr, nullptr, nullptr};
  if (idle->bytes > capacity_) {
    unmap(idle);
    return;
  }
  Idle* chain = nullptr;
  {
    const std::lock_guard guard(mutex_);
    chain = remove_down_to(capacity_ - idle->bytes);
    insert(idle);
  }
  unmap(chain);
}

void BlockPool::clear() noexcept {
  Idle* chain = nullptr;
  {
    const std::lock_guard guard(mutex_);
    chain = remove_down_to(0);
  }
  unmap(chain);
}

std::size_t BlockPool::idle_bytes() const {
  const std::lock_guard guard(mutex_);
  return idle_bytes_;
}

void BlockPool::insert(Idle* idle) {
  Idle*& newest_of_class = newest_of_class_[class_of(idle->bytes)];
  idle->older_of_class = newest_of_class;
  idle->newer_of_class = nullptr;
  if (newest_of_class != nullptr) newest_of_class->newer_of_class = idle;
  newest_of_class = idle;
  idle->older = newest_;
  idle->newer = nullptr;
  (newest_ != nullptr ? newest_->newer : oldest_) = idle;
  newest_ = idle;
  idle_bytes_ += idle->bytes;
}

void BlockPool::remove(Idle* idle) {
  if (idle->older_of_class != nullptr) idle->older_of_class->newer_of_class = idle->newer_of_class;
  (idle->newer_of_class != nullptr ? idle->newer_of_class->older_of_class
                                   : newest_of_class_[class_of(idle->bytes)]) =
      idle->older_of_class;
  (idle->older != nullptr ? idle->older->newer : oldest_) = idle->newer;
  (idle->newer != nullptr ? idle->newer->older : newest_) = idle->older;
  idle_bytes_ -= idle->bytes;
}

BlockPool::Idle* BlockPool::remove_down_to(std::size_t bytes) {
  Idle* chain = nullptr;
  while (idle_bytes_ > bytes) {
    Idle* idle = oldest_;
    remove(idle);
    idle->newer = chain;
    chain = idle;
  }
  return chain;
}

void BlockPool::unmap(Idle* chain) noexcept {
  while (chain != nullptr) {
    Idle* next = chain->newer;
    munmap(chain, chain->bytes);
    chain = next;
  }
}

}  // namespace eden
