// The inner loops that are compiled once per instruction set and chosen when the program starts.
// They decide nothing of their own: what they find is what weak_cells.h says, to the bit.
//
// A translation unit compiled for an instruction set must not leave an inline function of external
// linkage behind: the linker would be free to keep that copy for everybody. So this page is plain
// data, and the implementations take no standard containers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/storage.h"

namespace eden::simd {

// Blocks of marks of one level, and which of their marks are wanted: those of cells origin + low up
// to origin + high, below the larger of two thresholds.
struct SparseQuery {
  uint64_t first_block;
  uint64_t origin;  // the cell whose offset is 0
  uint32_t blocks;  // how many, from first_block on
  uint32_t low;     // offsets [low, high); high is at most 2^31
  uint32_t high;
  int32_t level;
  uint64_t always;  // a mark below this threshold flips its cell whatever it stores
  uint64_t strong;  // at least `always`; one below this alone flips the cell that stores one value
};

// A found cell: its offset times two, plus one if it flips for the strong value alone.
struct FoundCells {
  uint32_t* cell = nullptr;
  size_t size = 0;
  size_t capacity = 0;
};

// Makes room for `more` further cells. Throws std::bad_alloc.
void reserve(FoundCells& found, size_t more);
void release(FoundCells& found);

// A block's marks without a judgement on them.
struct RawMark {
  uint32_t query;    // index among the queries
  uint32_t block;    // from the query's first block on
  uint32_t ordinal;  // in the block
  uint32_t word;
};

struct RawMarks {
  RawMark* mark = nullptr;
  size_t size = 0;
  size_t capacity = 0;
};

void reserve(RawMarks& found, size_t more);
void release(RawMarks& found);

// Groups of 32 cells with one probability for each stored value.
struct DenseQuery {
  uint64_t first_group;
  uint32_t groups;
  uint32_t place;   // index of the first group's words in the masks
  uint64_t always;  // probabilities, as 64-bit fractions; strong is at least always
  uint64_t strong;
};

// One run of consecutive elements on its way through the memory.
struct ApplyRun {
  const void* in;
  void* out;      // may be `in`
  int64_t count;  // of elements
  int64_t first;  // index of the first one in its sample, for a channel's scale
  const uint64_t*
      zero;             // bit e x width + b: bit b of element e flips if it stores 0; null for none
  const uint64_t* one;  // likewise if it stores 1; may be `zero`
};

using Apply = void (*)(const ApplyRun& run, const Conversion& conversion);

struct Kernels {
  const char* name;
  // Appends the cells found, in no particular order and some of them more than once.
  void (*find_sparse)(uint64_t chip, const SparseQuery* queries, size_t count, FoundCells& found);
  // Appends every mark of the queries' blocks; window and thresholds are not looked at.
  void (*find_raw)(uint64_t chip, const SparseQuery* queries, size_t count, RawMarks& found);
  // Leaves of the found cells those whose read at this access fails.
  void (*keep_failing)(uint64_t chip, uint64_t origin, uint64_t access, uint64_t failure,
                       FoundCells& found);
  // Writes (not joins) the words of the groups' weak cells that fail at this access; `strong` may
  // be null where every query's probabilities are equal.
  void (*find_dense)(uint64_t chip, uint64_t access, uint64_t failure, const DenseQuery* queries,
                     size_t count, uint32_t* always, uint32_t* strong);
  // The way from values of a type through a storage and back; null where there is none.
  Apply (*apply)(ValueType value, Storage storage);
};

// The kernels of the best instruction set that this machine and build have, or of the one named in
// the environment variable EDEN_ISA. Throws std::invalid_argument for a name that is not there.
const Kernels& kernels();

// Those of one instruction set ("baseline", "avx2", "avx512", "neon"), null where it is missing.
const Kernels* kernels_of(const char* name);

}  // namespace eden::simd
