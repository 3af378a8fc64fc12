#include "memory/corrupt/simd/kernels.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/refusal.h"
#include "memory/corrupt/simd/tables.h"
#include "memory/weak_cells.h"

namespace eden::simd {
namespace {

struct Candidate {
  const char* name;
  bool usable;
  const Kernels& (*table)();
};

// What cmake/simd.cmake defines EDEN_HAS_AVX512 and EDEN_HAS_AVX2 as asks the processor for every
// set that the loops are compiled for, by __builtin_cpu_supports, which asks the operating system
// too whether it keeps the registers.
// From the best to the one that every machine has.
template <class Visit>
const Kernels* first_candidate(Visit&& accepts) {
  const Candidate candidates[] = {
#if defined(EDEN_HAS_AVX512)
      {"avx512", EDEN_HAS_AVX512, kernels_avx512},
#endif
#if defined(EDEN_HAS_AVX2)
      {"avx2", EDEN_HAS_AVX2, kernels_avx2},
#endif
#if defined(EDEN_HAS_NEON)
      {"neon", true, kernels_neon},
#endif
      {"baseline", true, kernels_baseline},
  };
  for (const Candidate& candidate : candidates) {
    if (candidate.usable && accepts(candidate.name)) return &candidate.table();
  }
  return nullptr;
}

const Kernels& choose() {
  const char* wanted = std::getenv("EDEN_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    return *first_candidate([](const char*) { return true; });
  }
  if (const Kernels* kernels = kernels_of(wanted)) return *kernels;
  std::string allowed;
  first_candidate([&](const char* name) {
    allowed.append(allowed.empty() ? "" : ", ").append(name);
    return false;
  });
  refuse("EDEN_ISA: found ", std::string_view(wanted), ", on this machine it can be ", allowed);
}

}  // namespace

void reserve(FoundCells& found, size_t more) {
  if (found.capacity - found.size >= more) return;
  const size_t wanted = std::max(found.size + more, 2 * found.capacity);
  if (wanted > SIZE_MAX / sizeof(uint32_t)) throw std::bad_alloc();
  void* grown = std::realloc(found.cell, wanted * sizeof(uint32_t));
  if (grown == nullptr) throw std::bad_alloc();
  found.cell = static_cast<uint32_t*>(grown);
  found.capacity = wanted;
}

void release(FoundCells& found) {
  std::free(found.cell);
  found = FoundCells{};
}

const Kernels* kernels_of(const char* name) {
  return first_candidate([&](const char* candidate) { return std::strcmp(candidate, name) == 0; });
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

int count_of_head(uint32_t low_word, uint32_t high_word) {
  return mark_count({{low_word, high_word, 0, 0}});
}

void judge_mark(uint64_t chip, const SparseQuery& query, uint64_t block, uint32_t ordinal,
                uint32_t word, FoundCells& found) {
  const Mark mark{block, ordinal, query.level, word};
  const uint64_t offset = mark.cell() - query.origin;
  if (offset < query.low || offset >= query.high || !mark.below(chip, query.strong)) return;
  const bool always = query.always == query.strong || mark.below(chip, query.always);
  reserve(found, 1);
  found.cell[found.size++] = (static_cast<uint32_t>(offset) << 1) | (always ? 0u : 1u);
}

void judge_line_mark(uint64_t chip, const PatchLines& lines, const MarkBlock& block,
                     uint32_t ordinal, uint32_t word, FoundCells& found) {
  const Mark mark{block.index, ordinal, block.level, word};
  const uint64_t offset = mark.cell() - lines.first_cell;
  if (offset >= uint64_t{lines.count} * lines.length) return;
  const uint64_t line = offset / lines.length;
  if (!mark.below(chip, lines.threshold[line])) return;
  const uint64_t place = lines.across
                             ? ((offset % lines.length - lines.lead) << lines.row_shift) + line
                             : offset - lines.lead;
  if (place < lines.begin || place >= lines.end) return;
  reserve(found, 1);
  const bool all = lines.lower == nullptr || mark.below(chip, lines.lower[line]);
  found.cell[found.size++] = (static_cast<uint32_t>(place) << 1) | (all ? 0u : 1u);
}

void keep_failing_one_by_one(uint64_t chip, const Rows& rows, uint64_t access, uint64_t failure,
                             FoundCells& found) {
  size_t kept = 0;
  for (size_t i = 0; i < found.size; ++i) {
    const uint32_t place = found.cell[i] >> 1;
    const uint64_t row = place >> rows.row_shift;
    const uint64_t cell = rows.origin + row * rows.stride + (place - (row << rows.row_shift));
    if (cell_fails(chip, cell, access, failure)) found.cell[kept++] = found.cell[i];
  }
  found.size = kept;
}

}  // namespace eden::simd
