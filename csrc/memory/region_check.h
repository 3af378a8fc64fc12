// Whether the rows of an operand's regions can be followed without reading or writing outside of
// the operand, its table and the masks of its flips, and in bounded time. The host refuses rows
// that cannot; a device, whose rows the host does not know without waiting for it, poisons what it
// was to write and says so afterwards.
#pragma once

#include "memory/corrupt/load.h"
#include "memory/lines.h"

namespace eden {

enum class RegionFault : int64_t {
  kNone = 0,
  kModel = 1,
  kCorrection = 2,
  kPlace = 3,
  kOrder = 4,
  kThreshold = 5,
  kTable = 6,
  kShape = 7,
  kTooShort = 8,
  kAccess = 9,  // of the load, whatever its regions are
  kPlane = 10,
  kPlanesHere = 11,
};

// The first fault of an operand's regions, and the region that has it.
struct FoundFault {
  RegionFault fault;
  int64_t region;
};

// What is wrong with the region, and what would be allowed.
constexpr const char* describe(RegionFault fault) {
  switch (fault) {
    case RegionFault::kNone:
      return "is right";
    case RegionFault::kModel:
      return "names no error model; allowed are 0 to 3";
    case RegionFault::kCorrection:
      return "names no correction; allowed are 0 to 2";
    case RegionFault::kPlace:
      return "cuts an element or lies beyond the last address; allowed are multiples of the "
             "element's bits, up to 2^63";
    case RegionFault::kOrder:
      return "ends before it begins; allowed are ascending ends";
    case RegionFault::kThreshold:
      return "has a sparse threshold beyond the shallowest level of marks, or a dense part before "
             "it is reached";
    case RegionFault::kTable:
      return "needs more of the table than there is, or not as many entries as its kind has";
    case RegionFault::kShape:
      return "has rows or subarrays of a size that is not allowed";
    case RegionFault::kTooShort:
      return "is the last one and ends before the operand does";
    case RegionFault::kAccess:
      return "is read with an access number that is not allowed; allowed is 0 to 2^54 - 1";
    case RegionFault::kPlane:
      return "is of a plane that is not allowed; allowed are planes that share no bit, and hold "
             "all "
             "of a word together";
    case RegionFault::kPlanesHere:
      return "is of a plane, where words are read whole; allowed on this device are rows of planes "
             "as [1, rows, fields], and none of a code of several words";
  }
  return "has a fault of an unknown kind";
}

// Of the table of lines that a region needs; entries are pairs.
EDEN_HOST_DEVICE inline bool table_holds(const Region& region, int64_t table_size) {
  const bool lines = region.model != ModelKind::kMap;
  const int64_t first = region.table_first, length = region.table_length;
  if (first < 0 || length < 0 || first > table_size) return false;
  const bool two = lines && by_value(region.table_kind);
  if (length > (table_size - first) / (two ? 4 : lines ? 2 : 1)) return false;
  if (!lines) return true;
  if (two || region.table_kind == TableKind::kPopulation) return length == kLineBins;
  return region.table_kind == TableKind::kMeasured && length > 0;
}

EDEN_HOST_DEVICE inline bool has_shape(const Region& region) {
  return region.row_bits >= 1 && region.subarray_rows >= 1 &&
         region.row_bits <= kMostSubarrayCells / region.subarray_rows &&
         region.row_bits % kRowBitsMultiple == 0 &&
         region.subarray_rows % kSubarrayRowsMultiple == 0;
}

// Of one region that holds the operand's bits [first, end).
EDEN_HOST_DEVICE inline RegionFault fault_of(const Region& region, uint64_t first, uint64_t end,
                                             uint64_t width, int64_t table_size) {
  constexpr uint64_t kAddresses = uint64_t{1} << 63;
  if (end % width != 0 || region.address % width != 0 || region.address > kAddresses ||
      end - first > kAddresses - region.address) {
    return RegionFault::kPlace;
  }
  if (static_cast<int64_t>(region.correction) < 0 ||
      static_cast<int64_t>(region.correction) > static_cast<int64_t>(Correction::kClamp)) {
    return RegionFault::kCorrection;
  }
  switch (region.model) {
    case ModelKind::kCell:
      for (int stored = 0; stored < 2; ++stored) {
        const uint64_t sparse = region.sparse[stored];
        const bool dense = region.dense[stored] != 0;
        if (sparse > kMaxSparseCode || (dense && sparse != kMaxSparseCode)) {
          return RegionFault::kThreshold;
        }
      }
      return RegionFault::kNone;
    case ModelKind::kBitline:
    case ModelKind::kWordline:
      if (!table_holds(region, table_size)) return RegionFault::kTable;
      return has_shape(region) ? RegionFault::kNone : RegionFault::kShape;
    case ModelKind::kMap:
      return table_holds(region, table_size) ? RegionFault::kNone : RegionFault::kTable;
  }
  return RegionFault::kModel;
}

// Of an operand in planes, all of whose rows are looked at; a plane's cells may be cut anywhere.
EDEN_HOST_DEVICE inline FoundFault find_fault_of_planes(const Load& load, uint64_t width) {
  const uint32_t word = ~uint32_t{0} >> (32 - width);
  const uint64_t elements = static_cast<uint64_t>(load.shape.sample_size());
  uint32_t held = 0;
  for (int64_t i = 0; i < load.region_count; ++i) {
    const Region region = load.region(i);
    if (load.begins_plane(i)) {
      const bool unknown = region.plane == 0 || (region.plane & ~word) != 0;
      if (unknown || (region.plane & held) != 0) return {RegionFault::kPlane, i};
      held |= region.plane;
    }
    const uint64_t bits = elements * plane_bits(region.plane, width);
    const uint64_t first = load.first_bit(i);
    if (first < bits) {
      if (region.end < first) return {RegionFault::kOrder, i};
      const uint64_t end = region.end < bits ? region.end : bits;
      const RegionFault fault = fault_of(region, first, end, 1, load.table_size);
      if (fault != RegionFault::kNone) return {fault, i};
    }
    const bool last = i + 1 == load.region_count || load.begins_plane(i + 1);
    if (last && region.end < bits) return {RegionFault::kTooShort, i};
  }
  if (held != word) return {RegionFault::kPlane, load.region_count - 1};
  return {RegionFault::kNone, 0};
}

// Of all regions that the operand's samples reach, whose elements have `width` bits.
EDEN_HOST_DEVICE inline FoundFault find_fault(const Load& load, uint64_t width) {
  if (load.access >> kAccessBits != 0) return {RegionFault::kAccess, 0};
  if (load.in_planes()) return find_fault_of_planes(load, width);
  const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) * width;
  for (int64_t i = 0; i < load.region_count; ++i) {
    const uint64_t first = load.first_bit(i);
    if (first >= bits) return {RegionFault::kNone, 0};
    const Region region = load.region(i);
    if (region.plane != 0) return {RegionFault::kPlane, i};
    if (region.end < first) return {RegionFault::kOrder, i};
    const uint64_t end = region.end < bits ? region.end : bits;
    const RegionFault fault = fault_of(region, first, end, width, load.table_size);
    if (fault != RegionFault::kNone) return {fault, i};
  }
  const int64_t last = load.region_count - 1;
  if (last >= 0 && load.region(last).end >= bits) return {RegionFault::kNone, 0};
  return {RegionFault::kTooShort, last};
}

// What a device writes, where nobody can be told in time, in place of a read that cannot be done:
// every bit one. So a floating-point value is NaN, an integer -1 or the largest that has no sign.
// Each thread writes its share.
EDEN_HOST_DEVICE inline void poison(void* values, int64_t bytes, int64_t thread, int64_t threads) {
  auto* to = static_cast<unsigned char*>(values);
  for (int64_t i = thread; i < bytes; i += threads) to[i] = 0xff;
}

// A fault and its region in one number other than 0, and back.
inline constexpr int kFaultBits = 4;

EDEN_HOST_DEVICE inline int64_t pack_fault(FoundFault found) {
  return found.region * (int64_t{1} << kFaultBits) + static_cast<int64_t>(found.fault);
}

inline FoundFault unpack_fault(int64_t packed) {
  constexpr int64_t kMask = (int64_t{1} << kFaultBits) - 1;
  return {static_cast<RegionFault>(packed & kMask), packed >> kFaultBits};
}

}  // namespace eden
