#include "core/placement.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <numeric>
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
std::optional<uint64_t> address_for(uint64_t bytes, uint64_t used, uint64_t capacity) {
  const uint64_t padding = (kOperandAlignment - used % kOperandAlignment) % kOperandAlignment;
  if (padding > capacity - used) return std::nullopt;
  const uint64_t address = used + padding;
  if (bytes > capacity - address) return std::nullopt;
  return address;
}

std::string no_room(const PlacementOperand& operand,
                    const std::vector<PlacementPartition>& partitions,
                    const PlacementResult& result) {
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
             : std::any_of(points.begin(), points.end(),
                           [&](const PartitionPoint& point) { return tolerates(operand, point); });
    if (!fits_rate) continue;
    tolerated = true;
    const auto start = address_for(1, result.used[p], partitions[p].capacity);
    if (start) room = std::max(room, partitions[p].capacity - *start);
  }
  if (!tolerated) {
    message << "no partition runs, or can still be run, at an operating point that it tolerates";
    return message.str();
  }
  message << "the most room left in a partition whose BER it tolerates is " << room
          << " bytes, after the more tolerant operands chose theirs (the greedy order; a placement "
             "may exist that it does not find)";
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

PlacementResult place_greedy(const std::vector<PlacementOperand>& operands,
                             const std::vector<PlacementPartition>& partitions,
                             const OperatingPoint& nominal, PlacementObjective objective) {
  check(operands, partitions, nominal);
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
      if (!address_for(operand.bytes, result.used[p], partition.capacity)) continue;
      for (size_t i = 0; i < partition.points.size(); ++i) {
        const int point = static_cast<int>(i);
        if (result.points[p] && *result.points[p] != point) continue;
        if (!tolerates(operand, partition.points[i])) continue;
        const Candidate candidate{
            parameter_reduction(partition.points[i].operating_point, nominal, objective),
            result.points[p].has_value(), result.used[p], -static_cast<int>(p), -point};
        if (!best || *best < candidate) best = candidate;
      }
    }
    if (!best) throw std::invalid_argument(no_room(operand, partitions, result));
    const size_t chosen = static_cast<size_t>(-best->earlier);
    const uint64_t address =
        *address_for(operand.bytes, result.used[chosen], partitions[chosen].capacity);
    result.points[chosen] = -best->earlier_point;
    result.used[chosen] = address + operand.bytes;
    result.operands[index] = {static_cast<int>(chosen), address};
  }
  return result;
}

}  // namespace eden
