// Operands of a partition whose weak cells are known, moved among its addresses and with their
// words' bits rotated, so that weak cells lie under low bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace eden {

// A cell that can flip: its place among the partition's, and when it stores what.
struct WeakCell {
  uint64_t bit;
  bool zero;
  bool one;
};

// How operands of one storage are kept: what a flip of each bit of a word harms if it stores 0, and
// if it stores 1, the lowest bit first.
struct WordForm {
  std::vector<double> zero;
  std::vector<double> one;
  uint64_t width() const { return zero.size(); }
};

// What lies together. A unit is what starts are multiples of.
struct RemapOperand {
  int64_t unit;   // its first one
  uint64_t bits;  // its size
  size_t form;    // among the forms
  double weight;  // what its harm counts
};

// By operand: its first unit, and by unit how far the bits of its words are rotated. Bit b of a
// word of `width` lies in the word's cell (b + rotation) mod width.
struct Remap {
  std::vector<int64_t> unit;
  std::vector<std::vector<uint8_t>> rotations;
  double before = 0.0;  // harm where the operands were, not rotated
  double after = 0.0;   // never more
};

// The sum over operands of weight x harm of the weak cells that they lie in is lowered: each unit
// has the rotation of least harm (the smallest of equal ones), and operands move, one after the
// other, to the place of least harm that is free, from where they are and from where they come to
// lie if placed anew, the largest first. At most `windows` places are looked at.
// Throws std::invalid_argument for cells out of order or outside of the partition, forms whose
// words do not fill units, and operands that overlap or do not fit.
Remap remap(const std::vector<WeakCell>& cells, uint64_t capacity_bits, uint64_t unit_bits,
            const std::vector<WordForm>& forms, const std::vector<RemapOperand>& operands,
            int64_t windows);

}  // namespace eden
