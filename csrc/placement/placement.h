// Placement: which operand goes into which partition of a device, and at which operating point each
// partition runs. Operands are whole; a partition has one operating point; no operand meets a bit
// error rate above the one it tolerates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace eden {

// Operands start at multiples of this many bytes, the size of a DDR3 burst over a 64-bit bus, so
// that no burst carries bytes of two operands.
inline constexpr uint64_t kOperandAlignment = 64;

struct OperatingPoint {
  double vdd;               // V
  double trcd;              // ns
  double trp;               // ns
  double refresh_interval;  // ms
};

// An operating point at which a partition may run, and the rates at which its cells then fail.
struct PartitionPoint {
  OperatingPoint operating_point;
  double ber;       // mean over stored zeros and ones
  double ber_zero;  // of cells that store 0
  double ber_one;   // of cells that store 1
};

struct PlacementPartition {
  std::string name;
  uint64_t capacity;  // bytes
  std::vector<PartitionPoint> points;
};

// Limits are rates that the operand tolerates jointly: the mean, and each stored value's rate of
// the error model under which the mean was found.
struct PlacementOperand {
  std::string name;
  uint64_t bytes;
  double limit;
  double limit_zero;
  double limit_one;
  double traffic;  // bytes per inference; only the order among equals, or 0 throughout
};

// What the largest parameter reduction is: of the supply voltage first, or of the latency first.
enum class PlacementObjective { kEnergy, kLatency };

// What a module's supplies and its controller allow beside capacities.
struct PlacementConstraints {
  // Bytes; operands start at multiples of it. A multiple of kOperandAlignment.
  uint64_t alignment = kOperandAlignment;
  // How many different supply voltages the module can be driven with, the nominal one, at which
  // partitions without operands stay, included.
  std::optional<int> voltages;
  // Partitions, by index, with one supply, or with one refresh: those of a group run at one VDD, or
  // one refresh interval, and only at one that each of them offers.
  std::vector<std::vector<int>> shared_vdd;
  std::vector<std::vector<int>> shared_refresh;
};

struct OperandSlot {
  int partition;
  uint64_t address;  // first byte, within the partition
};

struct PlacementResult {
  std::vector<OperandSlot> operands;       // in the order of the operands given
  std::vector<std::optional<int>> points;  // per partition; none where nothing is placed
  std::vector<uint64_t> used;              // bytes per partition, alignment included
};

// A point's reductions against the nominal operating point, relative, in the order in which they
// count.
struct ParameterReduction {
  double first;
  double second;
  double refresh;

  auto operator<=>(const ParameterReduction&) const = default;
};

ParameterReduction parameter_reduction(const OperatingPoint& point, const OperatingPoint& nominal,
                                       PlacementObjective objective);

// Whether a point's rates stay within an operand's limits: the mean, and each stored value's rate.
// The mean alone would let a point through whose errors fall on the stored value that the operand
// was never tested with.
bool tolerates(const PlacementOperand& operand, const PartitionPoint& point);

// `tolerates` of every operand and every point, row by row: one byte each, 1 where it does.
std::vector<uint8_t> tolerated(const std::vector<PlacementOperand>& operands,
                               const std::vector<PartitionPoint>& points);

// Throws std::invalid_argument for constraints that name a partition which there is not, or one
// twice in one kind of group, and for an alignment or a number of voltages out of range.
void check_constraints(const PlacementConstraints& constraints,
                       const std::vector<PlacementPartition>& partitions);

// The greedy Algorithm 1 of the EDEN paper: operands from the most to the least tolerant, each into
// the partition and operating point with the largest parameter reduction among those that it
// tolerates and that have room. The first operand in a partition sets its point. Among equal
// reductions: an open partition before an unused one, then the fuller one, then the first.
// Throws std::invalid_argument for bad input and for an operand that nothing has room for; the
// message names the operand and the constraint.
PlacementResult place_greedy(const std::vector<PlacementOperand>& operands,
                             const std::vector<PlacementPartition>& partitions,
                             const OperatingPoint& nominal, PlacementObjective objective,
                             const PlacementConstraints& constraints = {});

}  // namespace eden
