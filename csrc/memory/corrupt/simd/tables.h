// What the instruction sets' translation units and the choice between them share: no function here
// is inline, so that none is compiled for more than the machine has.
#pragma once

#include "memory/corrupt/simd/kernels.h"

// Of the instruction set that a file is compiled for: the name of its function, and its own name.
#define EDEN_JOIN(a, b) a##_##b
#define EDEN_JOIN_EXPANDED(a, b) EDEN_JOIN(a, b)
#define EDEN_OF_ISA(function) EDEN_JOIN_EXPANDED(function, EDEN_ISA)
#define EDEN_TEXT(a) #a
#define EDEN_TEXT_EXPANDED(a) EDEN_TEXT(a)
#define EDEN_ISA_NAME EDEN_TEXT_EXPANDED(EDEN_ISA)

namespace eden::simd {

// Each is defined where the build has its instruction set.
const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
const Kernels& kernels_neon();

Apply apply_baseline(ValueType value, Storage storage);
Apply apply_avx2(ValueType value, Storage storage);
Apply apply_avx512(ValueType value, Storage storage);
Apply apply_neon(ValueType value, Storage storage);

// The rare cases that lanes leave open, by the functions of weak_cells.h.
int count_of_head(uint32_t low_word, uint32_t high_word);
void judge_mark(uint64_t chip, const SparseQuery& query, uint64_t block, uint32_t ordinal,
                uint32_t word, FoundCells& found);
void judge_line_mark(uint64_t chip, const PatchLines& lines, const MarkBlock& block,
                     uint32_t ordinal, uint32_t word, FoundCells& found);
void keep_failing_one_by_one(uint64_t chip, const Rows& rows, uint64_t access, uint64_t failure,
                             FoundCells& found);

}  // namespace eden::simd
