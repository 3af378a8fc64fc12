#include "costs/cache.h"

#include <algorithm>
#include <list>
#include <string_view>
#include <unordered_map>

#include "base/refusal.h"

namespace eden {
namespace {

void check_at_least(std::string_view name, std::int64_t value, std::int64_t least) {
  if (value < least) refuse_value(name, value, least, " or more");
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Chunks of operands in the order of their last use.
class Cache {
 public:
  Cache(const std::vector<CachedOperand>& operands, std::int64_t capacity)
      : operands_(operands), capacity_(capacity) {
    std::int64_t bytes = 0;
    for (const CachedOperand& operand : operands) bytes += operand.bytes;
    // Of a large network as coarse as keeps the number of chunks small, and never above a
    // 1,024th of the cache.
    while (chunk_ < bytes / 65536 && chunk_ < capacity / 2048) chunk_ *= 2;
    reset_counts();
  }

  void reset_counts() {
    counts_.read.assign(operands_.size(), 0.0);
    counts_.written.assign(operands_.size(), 0.0);
  }

  // Bytes [begin, end) of an operand, rounded outward to chunks.
  void touch(std::int64_t operand, std::int64_t begin, std::int64_t end, bool write) {
    for (std::int64_t chunk = begin / chunk_; chunk * chunk_ < end; ++chunk) {
      touch_chunk(operand, chunk, write);
    }
  }

  void give_up(std::int64_t operand) {
    const std::int64_t bytes = operands_[static_cast<std::size_t>(operand)].bytes;
    for (std::int64_t chunk = 0; chunk * chunk_ < bytes; ++chunk) {
      const auto found = entries_.find(key(operand, chunk));
      if (found == entries_.end()) continue;
      used_ -= size(operand, chunk);
      order_.erase(found->second);
      entries_.erase(found);
    }
  }

  const CacheBytes& counts() const { return counts_; }

 private:
  struct Entry {
    std::int64_t operand;
    std::int64_t chunk;
    bool dirty;
  };

  static std::uint64_t key(std::int64_t operand, std::int64_t chunk) {
    return static_cast<std::uint64_t>(operand) << 40 | static_cast<std::uint64_t>(chunk);
  }

  std::int64_t size(std::int64_t operand, std::int64_t chunk) const {
    return std::min(chunk_, operands_[static_cast<std::size_t>(operand)].bytes - chunk * chunk_);
  }

  void touch_chunk(std::int64_t operand, std::int64_t chunk, bool write) {
    const auto found = entries_.find(key(operand, chunk));
    if (found != entries_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      order_.front().dirty |= write;
      return;
    }
    const std::int64_t bytes = size(operand, chunk);
    if (!write) counts_.read[static_cast<std::size_t>(operand)] += static_cast<double>(bytes);
    order_.push_front({operand, chunk, write});
    entries_[key(operand, chunk)] = order_.begin();
    used_ += bytes;
    while (used_ > capacity_) evict();
  }

  void evict() {
    const Entry& oldest = order_.back();
    const std::int64_t bytes = size(oldest.operand, oldest.chunk);
    if (oldest.dirty) {
      counts_.written[static_cast<std::size_t>(oldest.operand)] += static_cast<double>(bytes);
    }
    used_ -= bytes;
    entries_.erase(key(oldest.operand, oldest.chunk));
    order_.pop_back();
  }

  const std::vector<CachedOperand>& operands_;
  std::int64_t capacity_;
  std::int64_t chunk_ = 64;
  std::int64_t used_ = 0;
  std::list<Entry> order_;  // the last used first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> entries_;
  CacheBytes counts_;
};

// Reads and writes of a layer take turns at least this often.
constexpr std::int64_t kLeastSteps = 16;

class CacheRun {
 public:
  CacheRun(const std::vector<CachedOperand>& operands, std::int64_t capacity)
      : operands_(operands), capacity_(capacity), cache_(operands, capacity) {}

  void run(const CachedLayer& layer) {
    const auto resident =
        std::min_element(layer.reads.begin(), layer.reads.end(),
                         [&](std::int64_t a, std::int64_t b) { return bytes_of(a) < bytes_of(b); });
    const std::int64_t part = std::max(capacity_ / 2, std::int64_t{1});
    const std::int64_t parts =
        resident == layer.reads.end() ? 1 : ceil_div(bytes_of(*resident), part);
    std::int64_t streamed = 0;
    for (auto operand = layer.reads.begin(); operand != layer.reads.end(); ++operand) {
      if (operand != resident) streamed += bytes_of(*operand);
    }
    for (const std::int64_t operand : layer.writes) streamed += bytes_of(operand);
    // So short that what passes between two uses of the resident part leaves it in the cache.
    const std::int64_t steps =
        std::max(kLeastSteps, ceil_div(streamed, std::max(capacity_ / 8, std::int64_t{1})));
    for (std::int64_t i = 0; i < parts; ++i) {
      for (std::int64_t step = 0; step < steps; ++step) {
        if (resident != layer.reads.end()) {
          cache_.touch(*resident, i * part, std::min((i + 1) * part, bytes_of(*resident)), false);
        }
        for (auto operand = layer.reads.begin(); operand != layer.reads.end(); ++operand) {
          if (operand != resident) touch_share(*operand, step, steps, false);
        }
        for (const std::int64_t operand : layer.writes) touch_share(operand, step, steps, true);
      }
    }
  }

  Cache& cache() { return cache_; }

 private:
  std::int64_t bytes_of(std::int64_t operand) const {
    return operands_[static_cast<std::size_t>(operand)].bytes;
  }

  void touch_share(std::int64_t operand, std::int64_t step, std::int64_t steps, bool write) {
    const std::int64_t bytes = bytes_of(operand);
    cache_.touch(operand, bytes * step / steps, bytes * (step + 1) / steps, write);
  }

  const std::vector<CachedOperand>& operands_;
  std::int64_t capacity_;
  Cache cache_;
};

}  // namespace

CacheBytes cache_traffic(const std::vector<CachedOperand>& operands,
                         const std::vector<CachedLayer>& layers, std::int64_t capacity_bytes,
                         std::int64_t inferences) {
  check_at_least("cache: capacity_bytes", capacity_bytes, 64);
  check_at_least("cache: inferences", inferences, 1);
  for (const CachedOperand& operand : operands) check_at_least("operand: bytes", operand.bytes, 1);
  std::vector<std::size_t> last_use(operands.size(), 0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (const auto* used : {&layers[i].reads, &layers[i].writes}) {
      for (const std::int64_t operand : *used) {
        if (operand < 0 || static_cast<std::size_t>(operand) >= operands.size()) {
          refuse("layer ", i, ": operand is ", operand, "; allowed are 0 to ",
                 static_cast<std::int64_t>(operands.size()) - 1);
        }
        last_use[static_cast<std::size_t>(operand)] = i;
      }
    }
  }
  CacheRun run(operands, capacity_bytes);
  for (std::int64_t inference = 0; inference < inferences; ++inference) {
    run.cache().reset_counts();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      run.run(layers[i]);
      for (const auto* used : {&layers[i].reads, &layers[i].writes}) {
        for (const std::int64_t operand : *used) {
          const auto index = static_cast<std::size_t>(operand);
          if (!operands[index].kept && last_use[index] == i) run.cache().give_up(operand);
        }
      }
    }
  }
  return run.cache().counts();
}

}  // namespace eden
