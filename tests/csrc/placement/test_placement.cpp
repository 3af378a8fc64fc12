// Does a placement keep its contracts, and does the greedy one take the best it could?
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

#include "catch2.h"
#include "placement/placement.h"

namespace {

using eden::OperatingPoint;
using eden::PartitionPoint;
using eden::PlacementObjective;
using eden::PlacementOperand;
using eden::PlacementPartition;
using eden::PlacementResult;

constexpr OperatingPoint kNominal{1.35, 12.5, 12.5, 64.0};

PartitionPoint at(double vdd, double trcd, double ber) {
  return {{vdd, trcd, 12.5, 64.0}, ber, ber, ber};
}

PlacementOperand operand(const std::string& name, uint64_t bytes, double limit) {
  return {name, bytes, limit, limit, limit, 0.0};
}

PlacementResult greedy(const std::vector<PlacementOperand>& operands,
                       const std::vector<PlacementPartition>& partitions) {
  return eden::place_greedy(operands, partitions, kNominal, PlacementObjective::kEnergy);
}

std::string error_of(const std::vector<PlacementOperand>& operands,
                     const std::vector<PlacementPartition>& partitions) {
  try {
    greedy(operands, partitions);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

bool within(const PlacementOperand& operand, const PartitionPoint& point) {
  return point.ber <= operand.limit && point.ber_zero <= operand.limit_zero &&
         point.ber_one <= operand.limit_one;
}

// Tries every assignment and every point of every partition.
bool feasible(const std::vector<PlacementOperand>& operands,
              const std::vector<PlacementPartition>& partitions) {
  const size_t n = operands.size();
  std::vector<size_t> home(n, 0);
  while (true) {
    bool good = true;
    for (size_t p = 0; p < partitions.size() && good; ++p) {
      uint64_t padded = 0;
      uint64_t saved = 0;
      std::vector<size_t> inside;
      for (size_t k = 0; k < n; ++k) {
        if (home[k] != p) continue;
        inside.push_back(k);
        padded += aligned(operands[k].bytes);
        saved = std::max(saved, aligned(operands[k].bytes) - operands[k].bytes);
      }
      if (inside.empty()) continue;
      good = padded - saved <= partitions[p].capacity &&
             std::any_of(partitions[p].points.begin(), partitions[p].points.end(),
                         [&](const PartitionPoint& point) {
                           return std::all_of(inside.begin(), inside.end(),
                                              [&](size_t k) { return within(operands[k], point); });
                         });
    }
    if (good) return true;
    size_t k = 0;
    while (k < n && ++home[k] == partitions.size()) home[k++] = 0;
    if (k == n) return false;
  }
}

struct Instance {
  std::vector<PlacementOperand> operands;
  std::vector<PlacementPartition> partitions;
};

Instance random_instance(std::mt19937_64& random) {
  const auto below = [&](uint64_t n) { return random() % n; };
  const auto rate = [&] { return std::pow(10.0, -static_cast<double>(1 + below(5))); };
  Instance instance;
  const size_t partitions = 1 + below(3);
  for (size_t p = 0; p < partitions; ++p) {
    PlacementPartition partition{"bank" + std::to_string(p), 64 * (1 + below(8)), {}};
    if (p == 0) {
      partition.points = {at(1.35, 12.5, 0.0)};
    } else {
      const size_t points = 1 + below(3);
      for (size_t i = 0; i < points; ++i) {
        PartitionPoint point = at(1.35 - 0.1 * static_cast<double>(below(3)),
                                  12.5 - 2.5 * static_cast<double>(below(4)), rate());
        if (below(2)) {
          point.ber_zero = 0.5 * point.ber;
          point.ber_one = 1.5 * point.ber;
        }
        partition.points.push_back(point);
      }
      if (below(2)) partition.points.push_back(at(1.35, 12.5, 0.0));
    }
    instance.partitions.push_back(partition);
  }
  const size_t operands = 1 + below(5);
  for (size_t k = 0; k < operands; ++k) {
    PlacementOperand next = operand("layer" + std::to_string(k), 1 + below(300), rate());
    if (below(3) == 0) {
      next.limit_zero = 0.5 * next.limit;
      next.limit_one = 1.5 * next.limit;
    }
    instance.operands.push_back(next);
  }
  return instance;
}

}  // namespace

TEST_CASE("placement: contracts hold and greedy takes the best on random instances") {
  std::mt19937_64 random(20190000);
  int placed = 0;
  int infeasible = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const Instance instance = random_instance(random);
    const auto& operands = instance.operands;
    const auto& partitions = instance.partitions;
    const bool possible = feasible(operands, partitions);
    infeasible += !possible;
    PlacementResult result;
    try {
      result = greedy(operands, partitions);
    } catch (const std::invalid_argument& error) {
      const std::string message = error.what();
      REQUIRE(has(message, "operand layer"));
      if (has(message, "larger than every partition")) REQUIRE_FALSE(possible);
      continue;
    }
    ++placed;
    REQUIRE(possible);

    std::vector<std::vector<size_t>> inside(partitions.size());
    for (size_t k = 0; k < operands.size(); ++k) {
      const size_t p = static_cast<size_t>(result.operands[k].partition);
      REQUIRE(result.points[p].has_value());
      REQUIRE(within(operands[k], partitions[p].points[static_cast<size_t>(*result.points[p])]));
      REQUIRE(result.operands[k].address % 64 == 0);
      REQUIRE(result.operands[k].address + operands[k].bytes <= result.used[p]);
      inside[p].push_back(k);
    }
    for (size_t p = 0; p < partitions.size(); ++p) {
      REQUIRE(result.used[p] <= partitions[p].capacity);
      REQUIRE(result.points[p].has_value() == !inside[p].empty());
      std::sort(inside[p].begin(), inside[p].end(), [&](size_t a, size_t b) {
        return result.operands[a].address < result.operands[b].address;
      });
      for (size_t i = 1; i < inside[p].size(); ++i) {
        const size_t before = inside[p][i - 1];
        REQUIRE(result.operands[before].address + operands[before].bytes <=
                result.operands[inside[p][i]].address);
      }
    }

    // Replay from the most to the least tolerant operand: nothing it could have taken beats what it
    // took.
    std::vector<size_t> order(operands.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      if (operands[a].limit != operands[b].limit) return operands[a].limit > operands[b].limit;
      return operands[a].bytes > operands[b].bytes;
    });
    std::vector<int> open(partitions.size(), -1);
    std::vector<uint64_t> used(partitions.size(), 0);
    for (const size_t k : order) {
      const auto reduction = [&](size_t p, size_t i) {
        return eden::parameter_reduction(partitions[p].points[i].operating_point, kNominal,
                                         PlacementObjective::kEnergy);
      };
      const size_t mine = static_cast<size_t>(result.operands[k].partition);
      const auto taken = reduction(mine, static_cast<size_t>(*result.points[mine]));
      for (size_t p = 0; p < partitions.size(); ++p) {
        if (aligned(used[p]) + operands[k].bytes > partitions[p].capacity) continue;
        for (size_t i = 0; i < partitions[p].points.size(); ++i) {
          if (open[p] >= 0 && open[p] != static_cast<int>(i)) continue;
          if (within(operands[k], partitions[p].points[i])) {
            REQUIRE_FALSE(reduction(p, i) > taken);
          }
        }
      }
      REQUIRE(aligned(used[mine]) == result.operands[k].address);
      used[mine] = result.operands[k].address + operands[k].bytes;
      open[mine] = *result.points[mine];
    }
  }
  // Both sides of the contract are met often enough for the loop to mean something.
  CHECK(placed > 500);
  CHECK(infeasible > 500);
}

TEST_CASE("placement: the most tolerant operand takes the most aggressive point") {
  const std::vector<PlacementPartition> partitions = {
      {"bank0", 1024, {at(1.35, 12.5, 0.0)}},
      {"bank1", 1024, {at(1.35, 12.5, 0.0), at(1.35, 7.5, 1e-5), at(1.35, 5.0, 1e-2)}},
      {"bank2", 1024, {at(1.35, 12.5, 0.0), at(1.35, 7.5, 1e-5), at(1.35, 5.0, 1e-2)}}};
  const PlacementResult result = greedy(
      {operand("fragile", 100, 1e-7), operand("middle", 100, 1e-4), operand("tough", 100, 0.05)},
      partitions);
  CHECK(result.operands[2].partition == 1);
  CHECK(result.points[1] == 2);
  CHECK(result.operands[1].partition == 2);
  CHECK(result.points[2] == 1);
  CHECK(result.operands[0].partition == 0);
  CHECK(result.used[0] == 100);
}

TEST_CASE("placement: operands of one tolerance share a partition, aligned") {
  const PlacementPartition bank{"bank1", 1024, {at(1.35, 5.0, 1e-2)}};
  PlacementPartition other = bank;
  other.name = "bank2";
  const PlacementResult result =
      greedy({operand("a", 65, 0.1), operand("b", 64, 0.1), operand("c", 1, 0.1)}, {bank, other});
  CHECK(result.operands[0].address == 0);
  CHECK(result.operands[1].address == 128);
  CHECK(result.operands[2].address == 192);
  CHECK(result.used[0] == 193);
  CHECK_FALSE(result.points[1].has_value());
}

TEST_CASE("placement: each stored value's rate stays within its own limit") {
  // The mean is within the limit, but the operand was profiled with equal rates.
  const PartitionPoint skewed{{1.35, 5.0, 12.5, 64.0}, 1e-3, 2e-4, 1.8e-3};
  CHECK_FALSE(eden::tolerates(operand("symmetric", 1, 1e-3), skewed));
  CHECK(eden::tolerates(operand("symmetric", 1, 1.8e-3), skewed));
  CHECK(eden::tolerates({"skewed alike", 1, 1e-3, 2e-4, 1.8e-3, 0.0}, skewed));
  CHECK_FALSE(eden::tolerates({"skewed otherwise", 1, 1e-3, 1.8e-3, 2e-4, 0.0}, skewed));
  // A mean above the limit is never let through, not even by rounding.
  CHECK_FALSE(eden::tolerates({"below", 1, std::nextafter(1e-3, 0.0), 1.0, 1.0, 0.0}, skewed));
}

TEST_CASE("placement: the objective says which parameter counts first") {
  const PartitionPoint low_voltage = at(1.1, 12.5, 1e-3);
  const PartitionPoint low_latency = at(1.35, 5.0, 1e-3);
  const std::vector<PlacementPartition> partitions = {{"bank", 64, {low_voltage, low_latency}}};
  const std::vector<PlacementOperand> operands = {operand("a", 1, 0.1)};
  const auto chosen = [&](PlacementObjective objective) {
    return *eden::place_greedy(operands, partitions, kNominal, objective).points[0];
  };
  CHECK(chosen(PlacementObjective::kEnergy) == 0);
  CHECK(chosen(PlacementObjective::kLatency) == 1);
}

TEST_CASE("placement: the busier of two equally tolerant operands chooses first") {
  const std::vector<PlacementPartition> partitions = {{"nominal", 256, {at(1.35, 12.5, 0.0)}},
                                                      {"fast", 64, {at(1.35, 5.0, 1e-3)}}};
  const PlacementResult result =
      greedy({{"idle", 64, 0.1, 0.1, 0.1, 1.0}, {"busy", 64, 0.1, 0.1, 0.1, 2.0}}, partitions);
  CHECK(result.operands[1].partition == 1);
  CHECK(result.operands[0].partition == 0);
}

TEST_CASE("placement: supplies that are shared, and how many voltages there are") {
  const std::vector<PartitionPoint> points = {at(1.35, 12.5, 0.0), at(1.2, 12.5, 1e-4),
                                              at(1.1, 12.5, 1e-2)};
  const std::vector<PlacementPartition> partitions = {
      {"bank0", 64, points}, {"bank1", 64, points}, {"bank2", 64, points}};
  const std::vector<PlacementOperand> operands = {operand("tough", 64, 0.1),
                                                  operand("middle", 64, 1e-3)};
  const auto chosen = [&](const eden::PlacementConstraints& constraints) {
    return eden::place_greedy(operands, partitions, kNominal, PlacementObjective::kEnergy,
                              constraints);
  };
  const PlacementResult alone = chosen({});
  CHECK(alone.points[0] == 2);
  CHECK(alone.points[1] == 1);

  // One supply for the first two: the second operand goes where it has one of its own.
  eden::PlacementConstraints shared;
  shared.shared_vdd = {{0, 1}};
  const PlacementResult apart = chosen(shared);
  CHECK(apart.points[0] == 2);
  CHECK_FALSE(apart.points[1].has_value());
  CHECK(apart.points[2] == 1);

  // Two voltages, the nominal one included: the second operand stays at it.
  eden::PlacementConstraints two;
  two.voltages = 2;
  const PlacementResult driven = chosen(two);
  CHECK(driven.points[0] == 2);
  CHECK(driven.points[1] == 0);
  eden::PlacementConstraints one;
  one.voltages = 1;
  CHECK(chosen(one).points[0] == 0);

  // A group runs only at what each of its partitions offers.
  std::vector<PlacementPartition> mixed = partitions;
  mixed[1].points = {at(1.35, 12.5, 0.0), at(1.2, 12.5, 1e-4)};
  const PlacementResult common =
      eden::place_greedy({operand("tough", 64, 0.1)}, {mixed[0], mixed[1]}, kNominal,
                         PlacementObjective::kEnergy, shared);
  CHECK(common.points[0] == 1);

  eden::PlacementConstraints refreshed;
  refreshed.shared_refresh = {{0, 1}};
  std::vector<PlacementPartition> slow = partitions;
  slow[0].points = {{{1.35, 12.5, 12.5, 128.0}, 1e-2, 1e-2, 1e-2}};
  slow[1].points = {{{1.35, 12.5, 12.5, 128.0}, 1e-2, 1e-2, 1e-2}, at(1.1, 12.5, 1e-2)};
  const PlacementResult interval =
      eden::place_greedy({operand("a", 64, 0.1), operand("b", 64, 0.1)}, {slow[0], slow[1]},
                         kNominal, PlacementObjective::kEnergy, refreshed);
  // Of the lower voltage, the other partition offers no interval.
  CHECK(interval.points[0] == 0);
  CHECK(interval.points[1] == 0);
}

TEST_CASE("placement: operands start at multiples of the alignment") {
  eden::PlacementConstraints rows;
  rows.alignment = 8192;
  const std::vector<PlacementPartition> bank = {{"bank", 3 * 8192, {at(1.35, 12.5, 0.0)}}};
  const auto placed = [&](uint64_t last) {
    return eden::place_greedy({operand("a", 100, 0.1), operand("b", last, 0.1)}, bank, kNominal,
                              PlacementObjective::kEnergy, rows);
  };
  const PlacementResult result = placed(8193);
  CHECK(result.operands[1].address == 0);
  CHECK(result.operands[0].address == 2 * 8192);
  CHECK_THROWS_AS(placed(2 * 8192 + 1), std::invalid_argument);
}

TEST_CASE("placement: constraints out of range are named") {
  const std::vector<PlacementPartition> banks = {{"bank0", 64, {at(1.35, 12.5, 0.0)}},
                                                 {"bank1", 64, {at(1.35, 12.5, 0.0)}}};
  const auto error = [&](const eden::PlacementConstraints& constraints) -> std::string {
    try {
      eden::check_constraints(constraints, banks);
    } catch (const std::invalid_argument& found) {
      return found.what();
    }
    return "";
  };
  eden::PlacementConstraints wrong;
  wrong.alignment = 96;
  CHECK(has(error(wrong), "alignment is 96 bytes; allowed are multiples of 64"));
  wrong = {};
  wrong.voltages = 0;
  CHECK(has(error(wrong), "voltages is 0; allowed is 1 or more"));
  wrong = {};
  wrong.shared_vdd = {{0}, {1, 0}};
  CHECK(has(error(wrong), "shared_vdd: partition bank0 appears twice"));
  wrong = {};
  wrong.shared_refresh = {{2}};
  CHECK(has(error(wrong), "shared_refresh: found partition 2; allowed are 0 to 1"));
  CHECK(error({}).empty());
}

TEST_CASE("placement: the table of what is tolerated") {
  const std::vector<uint8_t> table =
      eden::tolerated({operand("tough", 1, 0.1), operand("fragile", 1, 1e-6)},
                      {at(1.35, 12.5, 0.0), at(1.1, 12.5, 1e-2)});
  CHECK(table == std::vector<uint8_t>{1, 1, 1, 0});
}

TEST_CASE("placement: errors name the operand and the constraint") {
  const std::vector<PlacementPartition> small = {{"bank0", 100, {at(1.35, 12.5, 0.0)}},
                                                 {"bank1", 200, {at(1.35, 5.0, 1e-2)}}};
  const std::string large = error_of({operand("conv1.weight", 201, 0.5)}, small);
  CHECK(has(large, "operand conv1.weight (201 bytes"));
  CHECK(has(large, "larger than every partition; the largest is bank1 with 200 bytes"));

  const std::string room =
      error_of({operand("fc.weight", 60, 1e-6), operand("fc.input", 64, 1e-7)}, small);
  CHECK(has(room, "operand fc.input (64 bytes"));
  CHECK(has(room, "the most room left in a partition whose BER it tolerates is 36 bytes"));

  const std::string rate =
      error_of({operand("conv1.weight", 1, 1e-6)}, {{"bank1", 200, {at(1.35, 5.0, 1e-2)}}});
  CHECK(has(rate, "no partition runs, or can still be run, at an operating point"));

  CHECK(has(error_of({}, small), "no operands to place"));
  CHECK(has(error_of({operand("a", 1, 0.1)}, {}), "no partitions"));
  CHECK(has(error_of({operand("a", 0, 0.1)}, small), "operand a: bytes is 0"));
  CHECK(has(error_of({operand("a", 1, 1.5)}, small), "operand a: limit is 1.5"));
  CHECK(has(error_of({operand("a", 1, std::nan(""))}, small), "operand a: limit is nan"));
  CHECK(has(error_of({operand("a", 1, 0.1), operand("a", 1, 0.1)}, small), "a appears twice"));
  CHECK(has(error_of({operand("a", 1, 0.1)}, {{"b", 100, {}}}), "partition b has no operating"));
  CHECK(has(error_of({operand("a", 1, 0.1)}, {{"b", 100, {at(0.0, 12.5, 0.0)}}}),
            "partition b: vdd is 0"));
  CHECK(has(error_of({operand("a", 1, 0.1)}, {{"b", 100, {at(1.35, 12.5, 2.0)}}}),
            "partition b: ber is 2"));
}
