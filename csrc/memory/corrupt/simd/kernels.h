// The inner loops that are compiled once per instruction set and chosen when the program starts.
// They decide nothing of their own: what they find is what weak_cells.h says, to the bit.
//
// A translation unit compiled for an instruction set must not leave an inline function of external
// linkage behind: the linker would be free to keep that copy for everybody. So this page is plain
// data, and the implementations take no standard containers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory/storage/storage.h"

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

// Where the cells of a patch lie: place p is in row p >> row_shift, and the rows begin `stride`
// cells apart. Places are below 2^31, so kOneRow makes one row of all.
inline constexpr int kOneRow = 31;

// Lanes of the widest registers.
inline constexpr size_t kMostLanes = 16;
struct Rows {
  uint64_t origin;  // the cell at place 0
  uint64_t stride;
  int row_shift;
};

// A found cell: its place times two, plus one if it flips for the strong value alone. Of cells in
// one row the place is the offset from the first.
struct FoundCells {
  uint32_t* cell = nullptr;
  size_t size = 0;
  size_t capacity = 0;
};

// Makes room for `more` further cells. Throws std::bad_alloc.
void reserve(FoundCells& found, size_t more);
void release(FoundCells& found);

// Where the bits of a plane lie in words: bit b of an element's, from run[r].first on, is bit
// b + run[r].up of its word.
inline constexpr uint32_t kMostRuns = 16;
struct PlaneLayout {
  uint32_t bits;     // of the plane in a word
  uint32_t width;    // of a word, a power of two
  uint32_t inverse;  // 2^31 / bits, rounded up: the high half of its product with 2 x a bit's
                     // number is the bit's element, below 2^31 / bits
  uint32_t runs;
  struct Run {
    uint32_t first, up;
  } run[kMostRuns];
};

// One block of marks of a level.
struct MarkBlock {
  uint64_t index;
  int32_t level;
};

// Blocks of marks of a level: first + b where bit b of `wanted` is set, of so many words.
struct MarkBlocks {
  uint64_t first;
  const uint64_t* wanted;
  size_t words;
  int32_t level;
};

// Lines that are neighbours in line space, and where their cells lie in a patch.
struct PatchLines {
  uint64_t first_cell;  // of the first line
  uint32_t count;
  uint32_t length;            // cells of a line, a multiple of 32; count x length is below 2^31
  const uint64_t* threshold;  // by line: on its marks
  const uint32_t* key;        // by line: the line_key of its threshold
  // By line, where cells have a threshold for each stored value: the lower one, `threshold` being
  // the higher; and its key. Else null.
  const uint64_t* lower;
  const uint32_t* lower_key;
  // Whether each of a line's cells lies in a row of its own, at the line's column: then the patch
  // begins with cell `lead` of every line, else with the cell `lead` after the first line's first.
  bool across;
  uint32_t lead;
  int row_shift;
  uint32_t begin, end;  // places [begin, end) are wanted
  uint32_t row_gap;     // bits of masks between two rows, a multiple of 64
};

// A line whose cells have a dense part.
struct DenseLine {
  uint32_t line;
  uint64_t probability[2];  // by stored value, as 64-bit fractions, one of them above 0
};

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
  // Bit e x mask_bits + b: bit b of element e flips if it stores 0, or 1. Both null for none, and
  // one where they are equal.
  const uint64_t* zero;
  const uint64_t* one;
};

// Consecutive bytes that are kept as they are.
struct FlipRun {
  const void* in;
  void* out;  // may be `in`
  size_t bytes;
  const void* zero;  // bits that flip if they store 0; null for none
  const void* one;   // likewise if they store 1; may be `zero`
};

using Apply = void (*)(const ApplyRun& run, const Conversion& conversion);

struct Kernels {
  const char* name;
  // Appends the cells found, in no particular order and some of them more than once.
  void (*find_sparse)(uint64_t chip, const SparseQuery* queries, size_t count, FoundCells& found);
  // Appends the cells of lines with a mark in one of the blocks, likewise. Each block holds some
  // cell of the lines.
  void (*find_in_lines)(uint64_t chip, const PatchLines& lines, const MarkBlocks* levels,
                        size_t count, FoundCells& found);
  // Appends the cells of the dense part of lines that cross the rows; or, with masks of cells that
  // store 0 and 1, joins their bits with them: bit p + row x row_gap is place p, rows have 32
  // places or more, and 64 bytes beyond the last one's can be read and written. Lines that have no
  // `lower` have one mask and one probability, the first.
  void (*find_dense_in_lines)(uint64_t chip, const PatchLines& lines, const DenseLine* dense,
                              size_t count, uint64_t* const (&masks)[2], FoundCells& found);
  // Writes which of `count` lines, below 2^31, have a mark of at most `most` or one of the `last`
  // highest ones, counted from the first line, and their marks; returns how many. most + last is
  // below 2^32. Near ones come near each other, in no particular order. There is room for
  // kMostLanes further words behind those of all lines. `detail` is that of the marks' stream.
  size_t (*find_weak_lines)(uint64_t chip, uint32_t detail, uint64_t first_line, uint32_t count,
                            uint32_t most, uint32_t last, uint32_t* line, uint32_t* mark);
  // Leaves of the found cells those whose read at this access fails.
  void (*keep_failing)(uint64_t chip, const Rows& rows, uint64_t access, uint64_t failure,
                       FoundCells& found);
  // Writes (not joins) the words of the groups' weak cells that fail at this access; `strong` may
  // be null where every query's probabilities are equal.
  void (*find_dense)(uint64_t chip, uint64_t access, uint64_t failure, const DenseQuery* queries,
                     size_t count, uint32_t* always, uint32_t* strong);
  // Appends cells of a plane, the first of which is its bit `lead`, as cells of words.
  void (*cells_of_words)(const PlaneLayout& plane, uint32_t lead, const uint32_t* cell,
                         size_t count, FoundCells& found);
  // Joins the mask of a plane's bits with that of so many 64 bits of words. 64 bytes behind either
  // can be read, and those behind the words' written as they were.
  void (*mask_of_words)(const PlaneLayout& plane, const uint64_t* of_plane, size_t words,
                        uint64_t* mask);
  // Reads runs into their outputs; streaming stores leave an output out of the caches.
  void (*flip)(const FlipRun* runs, size_t count, bool streams);
  // The way from values of a type through a storage and back; null where there is none.
  Apply (*apply)(ValueType value, Storage storage);
};

// The kernels of the best instruction set that this machine and build have, or of the one named in
// the environment variable EDEN_ISA. Throws std::invalid_argument for a name that is not there.
const Kernels& kernels();

// Those of one instruction set ("baseline", "avx2", "avx512", "neon"), null where it is missing.
const Kernels* kernels_of(const char* name);

}  // namespace eden::simd
