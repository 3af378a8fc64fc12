// Corrupting an operand on the host, on raw pointers: the flips of a patch of cells are found once,
// in time proportional to their number, and applied to that patch of every sample while it is in
// cache.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "memory/codes/coded_load.h"
#include "memory/corrupt/coded_flips.h"
#include "memory/corrupt/flips.h"
#include "memory/corrupt/kept_flips.h"
#include "memory/corrupt/load.h"
#include "memory/corrupt/plane_flips.h"
#include "memory/corrupt/rows.h"

namespace eden {

// The work of one load, cut into pieces that may be done in any order by any number of threads.
class LoadWork {
 public:
  // `in` and `out` are tensors of a type that can be kept in the storage, in rows of their own but
  // for codes of several words; they may be the same. For so many threads pieces are cut smaller,
  // where there would not be two for each. Throws std::invalid_argument naming a region that cannot
  // be followed (region_check.h).
  LoadWork(const Load& load, ValueType value, Storage storage, const void* in, void* out,
           const simd::Kernels& kernels = simd::kernels(), int threads = 1,
           const Rows& in_rows = {}, const Rows& out_rows = {});

  // Pieces are ordered so that neighbours share a patch, whose flips are then found once.
  int64_t pieces() const { return patches_ * load_.shape.batch; }
  int64_t elements_per_piece() const;
  void run(int64_t first_piece, int64_t last_piece) const;
  // The same with the load's weak cells from an earlier one.
  void run_kept(int64_t first_piece, int64_t last_piece, const KeptLoad& kept) const;
  // The same, entering the weak cells that are found, for later loads.
  void run_and_keep(int64_t first_piece, int64_t last_piece, KeptLoad& kept) const;

  // An operand in planes, or with a code of several words, is worked on in two passes. The first
  // finds the flips in bitlines, in any order of their patches, from earlier ones or into later
  // ones, either of which may be null; the second runs the pieces with these and all other flips.
  bool in_planes() const { return load_.in_planes() || coded_.has_value(); }
  PlaneFlips plane_flips() const;
  void find_planes(int64_t first_patch, int64_t last_patch, const KeptLoad* kept, KeptLoad* wanted,
                   PlaneFlips& flips) const;
  void run_planes(int64_t first_piece, int64_t last_piece, const PlaneFlips& flips) const;

  // Those whose flips are found; of an operand in planes, before elements pass.
  int64_t patches() const { return in_planes() ? plane_patches_ : patches_; }
  // The load whose cells' flips are found, and bits of what these cells are cut into.
  const Load& load_of_cells() const { return cells_; }
  int width() const { return coded_ ? 8 : width_; }

  // What a run would do to the stored bits, without doing it: adds to counts[bit][stored value] the
  // number of cells read, and then of those flipped. `out` is not touched. Of a code of several
  // words it is refused: its cells are a tensor of bytes.
  void count(int64_t* counts) const;

 private:
  struct Segment {
    Region region;
    WeakLines weak_lines;
    PatchGrid grid;
    int64_t first_patch;
    uint64_t first_bit;  // of the sample
  };

  // Calls find(segment, patch, which) for the flips of each patch, and passes its samples.
  template <class Flips, class Find>
  void run_with(int64_t first_piece, int64_t last_piece, Flips& flips, Find&& find) const;
  template <class Flips>
  void pass(const Segment& segment, const Patch& patch, Flips& flips, int64_t sample) const;
  const char* read_at(int64_t index) const { return in_ + in_rows_.place(index) * value_bytes_; }
  char* written_at(int64_t index) const { return out_ + out_rows_.place(index) * value_bytes_; }
  void flip_element(const char* in, char* out, const FlippedElement& element) const;
  // `first_bit` of the masks is that of element `first`.
  void pass_run(int64_t sample, int64_t first, int64_t count, uint64_t first_bit,
                const uint64_t* zero, const uint64_t* one,
                std::vector<simd::FlipRun>& plain_runs) const;
  static const Segment& segment_of(const std::vector<Segment>& segments, int64_t patch);
  template <class Flips>
  void count_patch(const Segment& segment, const Patch& patch, const Flips& flips,
                   int64_t* counts) const;
  void join(const Segment& chunk, const Patch& patch, const PlaneFlips& lines, bool listable,
            JoinedFlips& flips) const;
  void decode(const Segment& chunk, const Patch& patch, const PlaneFlips& lines,
              CodedFlips& flips) const;
  bool symmetric() const;
  template <class CellsOf>
  void gather(const PlaneFlips& lines, CellsOf&& cells_of, JoinedFlips& flips) const;
  uint64_t plane_unit(const Region& region) const;
  void add_words();
  uint64_t patch_cells(uint64_t bits, int level) const;
  void add_segment(std::vector<Segment>& segments, int64_t& patches, const Region& region,
                   uint64_t first, uint64_t end) const;
  // Whether elements may be flipped after all have passed.
  bool listable() const { return plain_ || in_ != out_; }
  // From so many cells to a flip on, bits of a sample are turned one by one; 0 for never: a bit
  // that is found twice is to be turned once, by what was read.
  size_t cells_per_bit() const {
    const bool dense = load_.shape.outer == 1 && in_rows_.dense() && out_rows_.dense();
    if (!plain_ || in_ == out_ || !dense) return 0;
    return streams_ ? kCellsPerFlipInList : kCellsPerBit;
  }

  Load load_;
  Load cells_;  // the same but of a code's cells
  ValueType value_;
  Storage storage_;
  std::optional<CodedLoad> coded_;
  int width_;  // of an element in a mask
  int value_bytes_;
  int threads_;
  bool plain_;  // the words are the values' own, and nothing is corrected
  bool streams_;
  const char* in_;
  char* out_;
  Rows in_rows_, out_rows_;
  const simd::Kernels& kernels_;
  simd::Apply apply_;
  // In which elements pass; one without flips for all planes, or all words of a code.
  std::vector<Segment> segments_;
  int64_t patches_ = 0;
  std::vector<Segment> plane_segments_;  // of all planes, or cells of a code, that are no bitlines
  std::vector<Segment> plane_lines_;
  int64_t plane_patches_ = 0;  // of the latter
};

}  // namespace eden
