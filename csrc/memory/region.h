// A region: the part of a memory that one operand is read from, and how its cells fail, as the
// integers that every backend compares with. Rates become thresholds once, on the host, so that no
// backend rounds a logarithm its own way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/platform.h"

namespace eden {

// The marks of weak cells form a Poisson process over cells x [0, infinity): a cell is weak at rate
// P if a mark of its own lies below v = -ln(1 - P). Marks below 2^-kFirstLevel are drawn sparsely,
// one level per octave, at a cost proportional to their number: level l holds those in [2^-(l+1),
// 2^-l), the last one all below 2^-kLastLevel. What lies above is dense: one Bernoulli variable per
// cell, joined as a union.
inline constexpr int kFirstLevel = 4;
inline constexpr int kLastLevel = 29;

// A threshold on sparse marks: octave from below in the high half, position inside it in the low
// half, so codes are in the order of the marks.
inline constexpr int kCodeOctaveShift = 32;
inline constexpr uint64_t kMaxSparseCode = static_cast<uint64_t>(kLastLevel - kFirstLevel + 1)
                                           << kCodeOctaveShift;

// A 64-bit fraction whose largest value stands for 1.
inline constexpr uint64_t kAlways = ~uint64_t{0};

enum class Correction : int32_t { kNone = 0, kZero = 1, kClamp = 2 };

// How the weak cells of a region are laid out.
enum class ModelKind : int64_t {
  kCell = 0,      // Models 0 and 3: each cell for itself
  kBitline = 1,   // Model 1
  kWordline = 2,  // Model 2
  kMap = 3,       // a list of a chip's own weak cells
};

// How a line finds its entry in the table of Models 1 and 2.
enum class TableKind : int64_t {
  kPopulation = 0,  // by the line's mark
  kMeasured = 1,    // by the line's number, modulo the table's length
  // Of a population with a table for each stored value, zeros' first, by the line's mark; for ones
  kAlike = 2,     // by the same mark
  kOpposite = 3,  // by its complement
  kApart = 4,     // by another mark
};

// Whether a line's cells have thresholds for each value that they store.
EDEN_HOST_DEVICE constexpr bool by_value(TableKind kind) {
  return kind == TableKind::kAlike || kind == TableKind::kOpposite || kind == TableKind::kApart;
}

// The fields of a row of the int64 matrix that carries an operand's regions to the operators, one
// row for each piece of memory that it lies in, in order.
enum RegionField : int {
  kEnd = 0,         // the operand's first bit that is no longer in this region
  kAddress = 1,     // address of the operand's first bit in this region
  kModel = 2,       // a ModelKind
  kSparseZero = 3,  // threshold on the sparse marks of a cell that stores 0 (kCell)
  kSparseOne = 4,
  kDenseZero = 5,  // probability of the dense part for a cell that stores 0 (kCell)
  kDenseOne = 6,
  kFailure = 7,        // probability that a weak cell's read is inverted
  kCorrection = 8,     // a Correction, the first row's holds for all; above kPlaneShift a plane
  kTableKind = 9,      // a TableKind (kBitline, kWordline)
  kTableFirst = 10,    // first element of the table that is this region's (all but kCell)
  kTableLength = 11,   // number of entries: pairs (sparse, dense) of lines, of one stored value; or
                       // cells of a map
  kRowBits = 12,       // cells of a wordline
  kSubarrayRows = 13,  // cells of a bitline
  kRegionFields = 14,
};

// The cells of a subarray: offsets among them take 31 bits.
inline constexpr uint64_t kMostSubarrayCells = uint64_t{1} << 30;

// A wordline's length is a multiple of this and a bitline's of a group's cells, so that the numbers
// drawn for a group of neighbours in line space belong to one line.
inline constexpr int64_t kRowBitsMultiple = 128;
inline constexpr int64_t kSubarrayRowsMultiple = 32;

// An entry of a map: the cell's address, then whether it flips when it stores 1, and when it stores
// 0. A region's entries are in ascending order.
inline constexpr int kMapFlagBits = 2;
inline constexpr int64_t kMapFlipsZero = 1;
inline constexpr int64_t kMapFlipsOne = 2;

// An operand can lie in planes: groups of the bit positions of its words, each with rows of its
// own, one plane's after the other's. The plane is the mask of the positions, 0 for whole words. It
// is stored densely: element i has the plane's bits from i x (their number) on, the lowest position
// first, and kEnd counts them.
inline constexpr int kPlaneShift = 32;

// The bits that an element has in a plane, of a word of `width`.
EDEN_HOST_DEVICE constexpr uint64_t plane_bits(uint32_t plane, uint64_t width) {
  if (plane == 0) return width;
  uint64_t bits = 0;
  for (; plane != 0; plane &= plane - 1) ++bits;
  return bits;
}

// The same fields by name, in the same order.
struct Region {
  uint64_t end;
  uint64_t address;
  ModelKind model;
  uint64_t sparse[2];  // by stored value
  uint64_t dense[2];
  uint64_t failure;
  Correction correction;  // these two are one field
  uint32_t plane;
  TableKind table_kind;
  int64_t table_first;
  int64_t table_length;
  uint64_t row_bits;
  uint64_t subarray_rows;
};
static_assert(sizeof(Region) == kRegionFields * sizeof(int64_t));

EDEN_HOST_DEVICE inline Region unpack_region(const int64_t* fields) {
  struct Row {
    int64_t field[kRegionFields];
  } row;
  for (int i = 0; i < kRegionFields; ++i) row.field[i] = fields[i];
  return __builtin_bit_cast(Region, row);
}

// The end of an operand's last region.
inline constexpr uint64_t kEndless = ~uint64_t{0} >> 1;

// Words from cell 0 on whose flips were found elsewhere; all of these fail.
EDEN_HOST_DEVICE constexpr Region region_of_found() {
  return {kEndless,
          0,
          ModelKind::kMap,
          {0, 0},
          {0, 0},
          kAlways,
          Correction::kNone,
          0,
          TableKind::kPopulation,
          0,
          0,
          0,
          0};
}

// Two thresholds for one probability P of being weak: on the sparse marks, and the dense part's.
// Both grow with P.
struct WeakThresholds {
  uint64_t sparse;
  uint64_t dense;
};
WeakThresholds weak_thresholds(double probability);

// A probability as a 64-bit fraction.
uint64_t fraction_of_one(double probability);

// The region of Models 0 and 3: a cell storing v is weak with probability ber_v / failure, its
// reads then fail with probability failure. Throws std::invalid_argument for a rate outside [0,
// failure] or a failure outside (0, 1].
std::array<int64_t, kRegionFields> make_region(double ber_zero, double ber_one, double failure,
                                               uint64_t address, Correction correction);

// The entries of a table of lines, for the probability of each entry that a cell of its lines is
// weak. Throws std::invalid_argument for a probability outside [0, 1].
std::vector<int64_t> make_line_table(const double* probabilities, size_t count);

// The region of Models 1 and 2, whose cells' reads, where they are weak, fail with probability
// failure. Its entries are in the table from element table_first on; table_length counts them.
// Throws std::invalid_argument naming the argument that is not allowed.
std::array<int64_t, kRegionFields> make_lines_region(ModelKind kind, TableKind table_kind,
                                                     double failure, uint64_t address,
                                                     Correction correction, int64_t table_first,
                                                     int64_t table_length, int64_t row_bits,
                                                     int64_t subarray_rows);

// The region of a map of weak cells; otherwise likewise. An empty map is allowed.
std::array<int64_t, kRegionFields> make_map_region(double failure, uint64_t address,
                                                   Correction correction, int64_t table_first,
                                                   int64_t table_length);

}  // namespace eden
