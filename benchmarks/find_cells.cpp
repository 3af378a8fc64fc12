// What finding cells costs, for every instruction set that this machine has: eden_bench [repeats].
// And the seconds that the random numbers of one read take: eden_bench random-numbers CELLS RATE.
//
// Prints CPU nanoseconds, the least of several repeats, because other programs share the machine:
//   <rate>       one mark drawn, at this rate of weak cells, in patches of 2^20 cells as an operand
//                is worked on; and the milliseconds of 2^29 cells, 64 MiB of float32
//   lines        one block of marks that are judged by their lines
//   keep_failing one found cell
//   dense        one group of 32 cells, both stored values alike; and with a failure probability
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "memory/corrupt/simd/kernels.h"
#include "memory/lines.h"
#include "memory/region.h"
#include "memory/weak_cells.h"

namespace {

using eden::simd::DenseQuery;
using eden::simd::FoundCells;
using eden::simd::Kernels;
using eden::simd::SparseQuery;

constexpr int kPatchBits = 20;
constexpr uint64_t kOperandCells = uint64_t{1} << 29;

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Work>
double least_seconds(int repeats, Work&& work) {
  double least = INFINITY;
  for (int i = 0; i < repeats; ++i) {
    const double begin = cpu_seconds();
    work();
    least = std::fmin(least, cpu_seconds() - begin);
  }
  return least;
}

// All queries of a patch at one threshold; returns the number of blocks.
uint64_t patch_queries(uint64_t origin, uint64_t threshold, std::vector<SparseQuery>& queries) {
  uint64_t blocks = 0;
  queries.clear();
  for (int level = eden::first_level(threshold); level <= eden::kLastLevel; ++level) {
    const int bits = eden::block_bits(level);
    SparseQuery query{};
    query.level = level;
    query.origin = origin;
    query.high = 1u << kPatchBits;
    query.first_block = origin >> bits;
    query.blocks =
        static_cast<uint32_t>(((origin + query.high - 1) >> bits) - query.first_block) + 1;
    query.always = query.strong = threshold;
    blocks += query.blocks;
    queries.push_back(query);
  }
  return blocks;
}

void time_rate(const Kernels& kernels, double rate, int repeats) {
  const uint64_t threshold = eden::weak_thresholds(rate).sparse;
  // The time of a smaller part of the operand is enough where there are many marks.
  const uint64_t cells = rate > 3e-4 ? kOperandCells >> 4 : kOperandCells;
  const uint64_t chip = 12345;
  FoundCells found;
  std::vector<SparseQuery> queries;
  uint64_t blocks = 0, kept = 0;
  const double seconds = least_seconds(repeats, [&] {
    blocks = kept = 0;
    for (uint64_t origin = 0; origin < cells; origin += uint64_t{1} << kPatchBits) {
      found.size = 0;
      blocks += patch_queries(origin, threshold, queries);
      kernels.find_sparse(chip, queries.data(), queries.size(), found);
      kept += found.size;
    }
  });
  const double marks = static_cast<double>(blocks << eden::kMarksPerBlockLog2);
  const double operands = static_cast<double>(kOperandCells) / static_cast<double>(cells);
  std::printf("  %-8.0e %8.3f ns per mark drawn, %7.3f ns per cell kept, %8.3f ms for 2^29 cells\n",
              rate, 1e9 * seconds / marks, 1e9 * seconds / static_cast<double>(kept),
              1e3 * seconds * operands);
  eden::simd::release(found);
}

void time_lines(const Kernels& kernels, int repeats) {
  constexpr uint32_t kLines = 4096, kLineCells = 512;
  constexpr int kLevel = 5;  // blocks of 512 cells
  const auto octave = static_cast<uint64_t>(eden::kLastLevel - kLevel) << eden::kCodeOctaveShift;
  const std::vector<uint64_t> threshold(kLines, octave + (uint64_t{1} << 31));
  const std::vector<uint32_t> key(kLines, eden::line_key(threshold[0]));
  eden::simd::PatchLines lines{};
  lines.count = kLines;
  lines.length = kLineCells;
  lines.threshold = threshold.data();
  lines.key = key.data();
  lines.across = true;
  lines.row_shift = 12;
  lines.end = kLines * kLineCells;
  const std::vector<uint64_t> wanted(kLines / 64, ~uint64_t{0});
  const eden::simd::MarkBlocks blocks{0, wanted.data(), wanted.size(), kLevel};
  FoundCells found;
  const double seconds = least_seconds(repeats, [&] {
    found.size = 0;
    kernels.find_in_lines(7, lines, &blocks, 1, found);
  });
  std::printf("  lines    %8.3f ns per block, %7.3f ns per cell kept\n", 1e9 * seconds / kLines,
              1e9 * seconds / static_cast<double>(found.size));
  eden::simd::release(found);
}

void time_kernels(const Kernels& kernels, int repeats) {
  std::printf("%s\n", kernels.name);
  for (const double rate : {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2}) {
    time_rate(kernels, rate, repeats);
  }
  time_lines(kernels, repeats);
  const uint64_t half = uint64_t{1} << 63, access = 5;
  FoundCells found;
  constexpr uint32_t kEntries = 1 << 16;
  eden::simd::reserve(found, kEntries);
  const double keeping = least_seconds(repeats, [&] {
    for (uint32_t i = 0; i < kEntries; ++i) found.cell[i] = i * 32;
    found.size = kEntries;
    kernels.keep_failing(7, {0, 0, eden::simd::kOneRow}, access, half, found);
  });
  std::printf("  keep_failing   %8.3f ns per found cell\n", 1e9 * keeping / kEntries);
  eden::simd::release(found);
  constexpr uint32_t kGroups = 1 << 15;
  std::vector<uint32_t> always(kGroups), strong(kGroups);
  DenseQuery query{0, kGroups, 0, half / 3, half / 3};
  const auto time_dense = [&](const char* what, uint64_t failure) {
    const double seconds = least_seconds(repeats, [&] {
      kernels.find_dense(7, access, failure, &query, 1, always.data(), strong.data());
    });
    std::printf("  dense, %-21s %7.3f ns per group, %7.3f ms for 2^29 cells\n", what,
                1e9 * seconds / kGroups,
                1e3 * seconds / kGroups * (kOperandCells >> eden::kGroupBits));
  };
  time_dense("one probability", eden::kAlways);
  time_dense("and failure 1/2", half);
  query.strong = half;
  time_dense("two probabilities", eden::kAlways);
}

void find_all(const eden::WeakThresholds& weak, uint64_t begin, uint64_t end) {
  FoundCells found;
  std::vector<uint32_t> words(size_t{1} << (kPatchBits - eden::kGroupBits));
  std::vector<SparseQuery> queries;
  for (uint64_t origin = begin; origin < end; origin += uint64_t{1} << kPatchBits) {
    patch_queries(origin, weak.sparse, queries);
    found.size = 0;
    eden::simd::kernels().find_sparse(1, queries.data(), queries.size(), found);
    if (weak.dense == 0) continue;
    const DenseQuery query{origin >> eden::kGroupBits, static_cast<uint32_t>(words.size()), 0,
                           weak.dense, weak.dense};
    eden::simd::kernels().find_dense(1, 0, eden::kAlways, &query, 1, words.data(), nullptr);
  }
  eden::simd::release(found);
}

// By two threads, as benchmarks/operators.py has the operators use.
double random_numbers_seconds(uint64_t cells, double rate) {
  const eden::WeakThresholds weak = eden::weak_thresholds(rate);
  const uint64_t middle = (cells >> kPatchBits) / 2 << kPatchBits;
  const auto start = std::chrono::steady_clock::now();
  std::thread half(find_all, weak, 0, middle);
  find_all(weak, middle, cells);
  half.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 4 && std::strcmp(arguments[1], "random-numbers") == 0) {
    const uint64_t cells = std::strtoull(arguments[2], nullptr, 10);
    std::printf("%.9g\n", random_numbers_seconds(cells, std::atof(arguments[3])));
    return 0;
  }
  const int repeats = count > 1 ? std::atoi(arguments[1]) : 15;
  for (const char* name : {"avx512", "avx2", "neon", "baseline"}) {
    if (const Kernels* kernels = eden::simd::kernels_of(name)) time_kernels(*kernels, repeats);
  }
  return 0;
}
