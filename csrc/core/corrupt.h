// Corrupting an operand on the host, on raw pointers: the flips of a patch of cells are found once,
// in time proportional to their number, and applied to that patch of every sample while it is in
// cache.
#pragma once

#include <cstdint>
#include <vector>

#include "core/flips.h"
#include "core/load.h"

namespace eden {

// The work of one load, cut into pieces that may be done in any order by any number of threads.
class LoadWork {
 public:
  // `in` and `out` are row-major tensors of a type that can be kept in the storage; they may be the
  // same. Throws std::invalid_argument naming a region that cannot be followed (region_check.h).
  LoadWork(const Load& load, ValueType value, Storage storage, const void* in, void* out,
           const simd::Kernels& kernels = simd::kernels());

  // Pieces are ordered so that neighbours share a patch, whose flips are then found once.
  int64_t pieces() const { return patches_ * load_.shape.batch; }
  int64_t elements_per_piece() const;
  void run(int64_t first_piece, int64_t last_piece) const;

  // What a run would do to the stored bits, without doing it: adds to counts[bit][stored value] the
  // number of cells read, and then of those flipped. `out` is not touched.
  void count(int64_t* counts) const;

 private:
  struct Segment {
    Region region;
    WeakLines weak_lines;
    PatchGrid grid;
    int64_t first_patch;
    uint64_t first_bit;  // of the sample
  };

  void pass(const Segment& segment, const Patch& patch, const PatchFlips& flips,
            int64_t sample) const;
  void flip_element(int64_t at, const Fixup& fixup) const;
  // `first_bit` of the masks is that of element `first`.
  void pass_run(int64_t sample, int64_t first, int64_t count, uint64_t first_bit,
                const uint64_t* zero, const uint64_t* one,
                std::vector<simd::FlipRun>& plain_runs) const;
  const Segment& segment_of(int64_t patch) const;

  Load load_;
  ValueType value_;
  Storage storage_;
  int width_;
  int value_bytes_;
  bool plain_;  // the words are the values' own, and nothing is corrected
  bool streams_;
  const char* in_;
  char* out_;
  const simd::Kernels& kernels_;
  simd::Apply apply_;
  std::vector<Segment> segments_;
  int64_t patches_ = 0;
};

}  // namespace eden
