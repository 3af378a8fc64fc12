#include "placement/placement.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tuple>
#include <unordered_set>

namespace eden {
namespace {

// Scaling a model to its limit and back rounds its rates by a few parts in 2^53.
constexpr double kRateRounding = 1e-12;

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  message << std::setprecision(6);
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

void check_rate(const std::string& owner, const char* name, double rate) {
  if (!(rate >= 0.0 && rate <= 1.0)) {
    fail(owner, ": ", name, " is ", rate, "; allowed is 0 to 1");
  }
}

void check_parameter(const std::string& owner, const char* name, double value) {
  if (!(value > 0.0 && std::isfinite(value))) {
    fail(owner, ": ", name, " is ", value, "; allowed is a finite number above 0");
  }
}

void check_operating_point(const std::string& owner, const OperatingPoint& point) {
  check_parameter(owner, "vdd", point.vdd);
  check_parameter(owner, "trcd", point.trcd);
  check_parameter(owner, "trp", point.trp);
  check_parameter(owner, "refresh_interval", point.refresh_interval);
}

void check(const std::vector<PlacementOperand>& operands,
           const std::vector<PlacementPartition>& partitions, const OperatingPoint& nominal) {
  check_operating_point("the nominal operating point", nominal);
  if (operands.empty()) fail("no operands to place; allowed is one or more");
  if (partitions.empty()) fail("the device has no partitions; allowed is one or more");
  std::unordered_set<std::string> names;
  for (const PlacementPartition& partition : partitions) {
    const std::string owner = "partition " + partition.name;
    if (!names.insert(partition.name).second) fail(owner, " appears twice; names must differ");
    if (partition.points.empty()) {
      fail(owner, " has no operating points; allowed is one or more");
    }
    for (const PartitionPoint& point : partition.points) {
      check_operating_point(owner, point.operating_point);
      check_rate(owner, "ber", point.ber);
      check_rate(owner, "ber_zero", point.ber_zero);
      check_rate(owner, "ber_one", point.ber_one);
    }
  }
  names.clear();
  for (const PlacementOperand& operand : operands) {
    const std::string owner = "operand " + operand.name;
    if (!names.insert(operand.name).second) fail(owner, " appears twice; names must differ");
    if (operand.bytes == 0) fail(owner, ": bytes is 0; allowed is 1 or more");
    check_rate(owner, "limit", operand.limit);
    check_rate(owner, "limit_zero", operand.limit_zero);
    check_rate(owner, "limit_one", operand.limit_one);
    if (!(operand.traffic >= 0.0 && std::isfinite(operand.traffic))) {
      fail(owner, ": traffic is ", operand.traffic, "; allowed is a finite number from 0");
    }
  }
}

// First aligned address behind what is used, or none where it would pass the capacity.
std::optional<uint64_t> address_for(uint64_t bytes, uint64_t used, uint64_t capacity,
                                    uint64_t alignment) {
  const uint64_t padding = (alignment - used % alignment) % alignment;
  if (padding > capacity - used) return std::nullopt;
  const uint64_t address = used + padding;
  if (bytes > capacity - address) return std::nullopt;
  return address;
}

void check_groups(const std::vector<std::vector<int>>& groups, const char* kind,
                  const std::vector<PlacementPartition>& partitions) {
  std::unordered_set<int> seen;
  for (const std::vector<int>& group : groups) {
    for (const int p : group) {
      if (p < 0 || static_cast<size_t>(p) >= partitions.size()) {
        fail(kind, ": found partition ", p, "; allowed are 0 to ", partitions.size() - 1);
      }
      if (!seen.insert(p).second) {
        fail(kind, ": partition ", partitions[static_cast<size_t>(p)].name,
             " appears twice; allowed is one group for each");
      }
    }
  }
}

// Which of a parameter's values a group of partitions may run at, and which one it has taken.
class SharedParameter {
 public:
  using Value = double OperatingPoint::*;

  SharedParameter(Value value, const std::vector<std::vector<int>>& groups,
                  const std::vector<PlacementPartition>& partitions)
      : value_(value), group_(partitions.size(), -1) {
    for (const std::vector<int>& members : groups) {
      for (const int p : members) group_[static_cast<size_t>(p)] = static_cast<int>(taken_.size());
      taken_.emplace_back();
      offered_.emplace_back();
      for (const int p : members) {
        std::vector<double> offers;
        for (const PartitionPoint& point : partitions[static_cast<size_t>(p)].points) {
          offers.push_back(point.operating_point.*value);
        }
        offered_.back().push_back(std::move(offers));
      }
    }
  }

  bool allows(size_t partition, const OperatingPoint& point) const {
    if (group_[partition] < 0) return true;
    const size_t group = static_cast<size_t>(group_[partition]);
    const double wanted = point.*value_;
    if (taken_[group]) return *taken_[group] == wanted;
    return std::all_of(offered_[group].begin(), offered_[group].end(), [&](const auto& offers) {
      return std::find(offers.begin(), offers.end(), wanted) != offers.end();
    });
  }

  void take(size_t partition, const OperatingPoint& point) {
    if (group_[partition] >= 0) taken_[static_cast<size_t>(group_[partition])] = point.*value_;
  }

 private:
  Value value_;
  std::vector<int> group_;                                 // of each partition; -1: none
  std::vector<std::optional<double>> taken_;               // by group
  std::vector<std::vector<std::vector<double>>> offered_;  // by group and member
};

// What the supplies still allow after the choices so far.
class Supplies {
 public:
  Supplies(const PlacementConstraints& constraints,
           const std::vector<PlacementPartition>& partitions, const OperatingPoint& nominal)
      : vdd_(&OperatingPoint::vdd, constraints.shared_vdd, partitions),
        refresh_(&OperatingPoint::refresh_interval, constraints.shared_refresh, partitions),
        voltages_(constraints.voltages),
        driven_{nominal.vdd} {}

  bool allows(size_t partition, const OperatingPoint& point) const {
    if (!vdd_.allows(partition, point) || !refresh_.allows(partition, point)) return false;
    return !voltages_ || static_cast<int>(driven_.size()) < *voltages_ ||
           driven_.count(point.vdd) > 0;
  }

  void take(size_t partition, const OperatingPoint& point) {
    vdd_.take(partition, point);
    refresh_.take(partition, point);
    driven_.insert(point.vdd);
  }

 private:
  SharedParameter vdd_;
  SharedParameter refresh_;
  std::optional<int> voltages_;
  std::set<double> driven_;
};

constexpr const char* kGreedyOrder =
    "(the greedy order; a placement may exist that it does not find)";

std::string no_room(const PlacementOperand& operand,
                    const std::vector<PlacementPartition>& partitions,
                    const PlacementResult& result, const Supplies& supplies,
                    const PlacementConstraints& constraints) {
  const auto largest = std::max_element(
      partitions.begin(), partitions.end(),
      [](const auto& left, const auto& right) { return left.capacity < right.capacity; });
  std::ostringstream message;
  message << std::setprecision(6) << "operand " << operand.name << " (" << operand.bytes
          << " bytes, tolerates a BER of " << operand.limit << ") cannot be placed: ";
  if (operand.bytes > largest->capacity) {
    message << "it is larger than every partition; the largest is " << largest->name << " with "
            << largest->capacity << " bytes, and an operand is not split";
    return message.str();
  }
  uint64_t room = 0;
  bool tolerated = false;
  for (size_t p = 0; p < partitions.size(); ++p) {
    const auto& points = partitions[p].points;
    const bool open = result.points[p].has_value();
    const bool fits_rate =
        open ? tolerates(operand, points[static_cast<size_t>(*result.points[p])])
             : std::any_of(points.begin(), points.end(), [&](const PartitionPoint& point) {
                 return tolerates(operand, point) && supplies.allows(p, point.operating_point);
               });
    if (!fits_rate) continue;
    tolerated = true;
    const auto start =
        address_for(1, result.used[p], partitions[p].capacity, constraints.alignment);
    if (start) room = std::max(room, partitions[p].capacity - *start);
  }
  if (!tolerated) {
    message << "no partition runs, or can still be run, at an operating point that it tolerates";
    const bool supplied = constraints.voltages || !constraints.shared_vdd.empty() ||
                          !constraints.shared_refresh.empty();
    if (supplied) {
      message
          << " under the constraints on supplies, after the more tolerant operands chose theirs "
          << kGreedyOrder;
    }
    return message.str();
  }
  message << "the most room left in a partition whose BER it tolerates is " << room
          << " bytes, after the more tolerant operands chose theirs " << kGreedyOrder;
  return message.str();
}

struct Candidate {
  ParameterReduction reduction;
  bool open;
  uint64_t used;
  int earlier;  // negated index: the first partition, then the first point, wins a tie
  int earlier_point;

  auto key() const { return std::tie(reduction, open, used, earlier, earlier_point); }
  bool operator<(const Candidate& other) const { return key() < other.key(); }
};

}  // namespace

ParameterReduction parameter_reduction(const OperatingPoint& point, const OperatingPoint& nominal,
                                       PlacementObjective objective) {
  const double voltage = 1.0 - point.vdd / nominal.vdd;
  const double latency = 1.0 - (point.trcd + point.trp) / (nominal.trcd + nominal.trp);
  const double refresh = 1.0 - nominal.refresh_interval / point.refresh_interval;
  if (objective == PlacementObjective::kEnergy) return {voltage, latency, refresh};
  return {latency, voltage, refresh};
}

bool tolerates(const PlacementOperand& operand, const PartitionPoint& point) {
  const double slack = 1.0 + kRateRounding;
  return point.ber <= operand.limit && point.ber_zero <= operand.limit_zero * slack &&
         point.ber_one <= operand.limit_one * slack;
}

std::vector<uint8_t> tolerated(const std::vector<PlacementOperand>& operands,
                               const std::vector<PartitionPoint>& points) {
  std::vector<uint8_t> result;
  result.reserve(operands.size() * points.size());
  for (const PlacementOperand& operand : operands) {
    for (const PartitionPoint& point : points) result.push_back(tolerates(operand, point));
  }
  return result;
}

void check_constraints(const PlacementConstraints& constraints,
                       const std::vector<PlacementPartition>& partitions) {
  if (constraints.alignment == 0 || constraints.alignment % kOperandAlignment != 0) {
    fail("alignment is ", constraints.alignment, " bytes; allowed are multiples of ",
         kOperandAlignment);
  }
  if (constraints.voltages && *constraints.voltages < 1) {
    fail("voltages is ", *constraints.voltages, "; allowed is 1 or more");
  }
  check_groups(constraints.shared_vdd, "shared_vdd", partitions);
  check_groups(constraints.shared_refresh, "shared_refresh", partitions);
}

PlacementResult place_greedy(const std::vector<PlacementOperand>& operands,
                             const std::vector<PlacementPartition>& partitions,
                             const OperatingPoint& nominal, PlacementObjective objective,
                             const PlacementConstraints& constraints) {
  check(operands, partitions, nominal);
  check_constraints(constraints, partitions);
  Supplies supplies(constraints, partitions, nominal);
  std::vector<size_t> order(operands.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
    const PlacementOperand& a = operands[left];
    const PlacementOperand& b = operands[right];
    return std::tie(a.limit, a.traffic, a.bytes) > std::tie(b.limit, b.traffic, b.bytes);
  });

  PlacementResult result;
  result.operands.resize(operands.size());
  result.points.resize(partitions.size());
  result.used.assign(partitions.size(), 0);
  for (const size_t index : order) {
    const PlacementOperand& operand = operands[index];
    std::optional<Candidate> best;
    for (size_t p = 0; p < partitions.size(); ++p) {
      const PlacementPartition& partition = partitions[p];
      if (!address_for(operand.bytes, result.used[p], partition.capacity, constraints.alignment)) {
        continue;
      }
      for (size_t i = 0; i < partition.points.size(); ++i) {
        const int point = static_cast<int>(i);
        if (result.points[p] && *result.points[p] != point) continue;
        if (!tolerates(operand, partition.points[i])) continue;
        if (!result.points[p] && !supplies.allows(p, partition.points[i].operating_point)) continue;
        const Candidate candidate{
            parameter_reduction(partition.points[i].operating_point, nominal, objective),
            result.points[p].has_value(), result.used[p], -static_cast<int>(p), -point};
        if (!best || *best < candidate) best = candidate;
      }
    }
    if (!best) {
      throw std::invalid_argument(no_room(operand, partitions, result, supplies, constraints));
    }
    const size_t chosen = static_cast<size_t>(-best->earlier);
    const uint64_t address = *address_for(operand.bytes, result.used[chosen],
                                          partitions[chosen].capacity, constraints.alignment);
    result.points[chosen] = -best->earlier_point;
    supplies.take(
        chosen,
        partitions[chosen].points[static_cast<size_t>(-best->earlier_point)].operating_point);
    result.used[chosen] = address + operand.bytes;
    result.operands[index] = {static_cast<int>(chosen), address};
  }
  return result;
}

}  // namespace eden
