// Weak cells that are kept from one load to the next, where finding them again would cost more than
// remembering them: those of bitlines, which are found for a whole subarray even where the operand
// covers few of its rows, and others whose lists are short.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "base/fork_lock.h"
#include "memory/corrupt/flips.h"
#include "memory/corrupt/load.h"
#include "memory/corrupt/patch.h"

namespace eden {

// The weak cells of a load, patch by patch, whatever of their reads fails; of at most so many bytes
// of lists and one patch more for each thread.
class KeptLoad {
 public:
  explicit KeptLoad(int64_t patches, size_t most_bytes = ~size_t{0})
      : patches_(static_cast<size_t>(patches)), most_bytes_(most_bytes) {}

  const std::vector<FlippedElement>& patch(int64_t which) const {
    return patches_[static_cast<size_t>(which)].flips;
  }
  // Enters what was found for a patch, unless another thread has done so or does it now, and gives
  // it back; in `own` where there is no room for it any more.
  const std::vector<FlippedElement>& enter(int64_t which, const PatchFlips& flips,
                                           const PatchGrid& grid, const Patch& patch, int width,
                                           std::vector<FlippedElement>& own);
  // Whether all patches that were entered are here.
  bool whole() const { return listed_bytes_.load() <= most_bytes_; }
  size_t bytes() const;

 private:
  struct Entry {
    std::once_flag once;
    bool listed = false;
    std::vector<FlippedElement> flips;
  };
  std::vector<Entry> patches_;
  const size_t most_bytes_;
  std::atomic<size_t> listed_bytes_{0};
};

// What a thread makes of a kept patch at one access: the same as PatchFlips finds.
class RecalledFlips {
 public:
  // `kept` must stay as it is until the next call. If elements are not `listable`, masks even
  // where they are few.
  void recall(const std::vector<FlippedElement>& kept, const Load& load, const Region& region,
              const Patch& patch, bool listable);

  // Of kept cells those that fail, until the next call.
  const std::vector<FlippedElement>& failing_cells(const std::vector<FlippedElement>& kept,
                                                   const Load& load, const Region& region) {
    if (region.failure == kAlways) return kept;
    keep_failing(kept, load, region);
    return own_;
  }

  bool masked() const { return masked_; }
  const std::vector<FlippedElement>& listed() const { return masked_ ? none_ : *failing_; }
  // As those of PatchFlips, from the cell below the patch's origin on.
  const uint64_t* zero(uint32_t row) const { return zero_.data() + row * row_words_; }
  const uint64_t* one(uint32_t row) const {
    return (symmetric_ ? zero_ : one_).data() + row * row_words_;
  }

 private:
  void keep_failing(const std::vector<FlippedElement>& kept, const Load& load,
                    const Region& region);
  void into_masks(const Patch& patch);

  bool masked_ = false;
  bool symmetric_ = true;
  size_t row_words_ = 0;
  const std::vector<FlippedElement>* failing_ = nullptr;
  std::vector<FlippedElement> own_, none_;
  std::vector<uint64_t> zero_, one_;
  std::vector<size_t> dirty_;  // words of the masks that may hold a bit
};

// Lists of weak cells by what they follow from: chip, regions, the lines of their tables that the
// operand lies in, and its size. All of it is taken by its value, as a digest, so whatever changes
// in place is another load, and no table is kept. A load is kept when it is seen for the second
// time; of one that never is, as on another chip at every read, or that was refused, a few numbers
// of a table are looked at. At most `capacity` bytes are kept; a load gives way to another only
// when kStale others have been asked for since it was, or a network that does not fit would find
// none of its loads. Safe to use from several threads.
class FlipCache {
 public:
  static constexpr uint64_t kStale = 1024;

  explicit FlipCache(size_t capacity) : capacity_(capacity) {}

  struct Answer {
    std::shared_ptr<const KeptLoad> kept;  // null if the load is not known
    std::shared_ptr<KeptLoad> wanted;      // to be filled and handed to `keep`; null if it is not
    Digest glance, key;                    // of the load, and with all of its lines
  };
  // `of_cells` says that lists are of cells, of those of words else.
  Answer find(const Load& load, int width, int64_t patches, bool of_cells = false);
  // Takes what was asked for. What is longer than it is worth is forgotten, and not asked for
  // again.
  void keep(Answer&& answer);

  size_t bytes() const;
  void clear();

 private:
  // The last few thousand of those entered. Threads that enter at the same time can lose one, which
  // is then entered again.
  class Recent {
   public:
    bool contains(const Digest& digest) const;
    void enter(const Digest& digest);
    void clear();

   private:
    static constexpr size_t kSets = 512, kInSet = 8;
    std::array<std::array<std::atomic<uint64_t>, kInSet>, kSets> sets_{};
  };
  struct Hash {
    size_t operator()(const Digest& digest) const { return static_cast<size_t>(digest.low); }
  };
  struct Entry {
    Digest key;
    std::shared_ptr<const KeptLoad> kept;
    size_t bytes;
    uint64_t used;  // number of the last call of `find` that asked for it
  };

  const size_t capacity_;
  mutable ForkLock mutex_;
  std::list<Entry> entries_;  // the last used first
  std::unordered_map<Digest, std::list<Entry>::iterator, Hash> by_key_;
  Recent seen_;     // loads at a glance: those that were asked for,
  Recent refused_;  // and those too large, or for which there was no room
  std::atomic<uint64_t> calls_{0};
  size_t bytes_ = 0;
};

}  // namespace eden
