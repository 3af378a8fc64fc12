// What every fast path must give: one cell after another, by the definitions of weak_cells.h and
// lines.h alone. For tests, and to be read first.
#pragma once

#include "memory/corrupt/load.h"

namespace eden {

// Whether a load's read of a cell of its region is inverted.
bool cell_flips(const Load& load, const Region& region, uint64_t address, bool stored);

// Reads every element of every sample from `in` into `out`, which may be the same. The type can be
// kept in the storage, and the regions can be followed (region_check.h).
void corrupt_cell_by_cell(const Load& load, ValueType value, Storage storage, const void* in,
                          void* out);

}  // namespace eden
