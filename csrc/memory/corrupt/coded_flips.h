// The flips of an operand whose storage has a code of several words: those of cells, gathered for a
// chunk of words, become those that the code leaves of the words, which then pass like any others.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/codes/coded_load.h"
#include "memory/corrupt/plane_flips.h"

namespace eden {

// What a chunk of words is a multiple of: blocks or, of a tripled sign, words of tiles; a power of
// two of these.
CodeBlock chunk_unit(Storage storage);

// What a thread keeps of one chunk, as PatchFlips has the flips of a patch. Codes are linear and
// systematic: a word is read right but for what its block's flips decode to. So words are encoded
// only where more of a block's cells may flip than it corrects, and whether they do depends on what
// they store.
class CodedFlips {
 public:
  // Begins a chunk of words; `symmetric` says that each cell flips whatever it stores, if it does.
  void begin(const simd::Kernels& kernels, const CodedLoad& coded, const CodedLoad::Tile& words,
             bool symmetric);
  // The bytes of the sample's cells [first, end) that the words are read from, whose flips are to
  // be gathered.
  uint64_t first_byte() const { return first_byte_; }
  uint64_t end_byte() const { return end_byte_; }
  JoinedFlips& cells() { return cells_; }
  // All were gathered. As masks even where flips are few, if a list of words is not `listable`.
  void end(bool listable);
  // Finds the flips of a sample's words.
  void read(int64_t sample);

  bool masked() const { return masked_; }
  // By the place of a word's mask among those of all words.
  const std::vector<FlippedElement>& listed() const { return masked_ ? none_ : listed_; }
  const uint64_t* zero(uint32_t) const { return mask_of(zero_); }
  const uint64_t* one(uint32_t) const { return mask_of(same_ ? zero_ : one_); }
  // First words of the blocks whose errors are detected.
  const std::vector<int64_t>& detected() const { return detected_; }

 private:
  // A block that may be read wrong, or a word of a tripled sign: which of its cells flip if they
  // store 0, or 1, the last byte apart.
  struct Hit {
    int64_t word;
    uint64_t zero, one;
    uint8_t last_zero, last_one;
  };

  const uint64_t* mask_of(const std::vector<uint64_t>& mask) const {
    return reinterpret_cast<const uint64_t*>(reinterpret_cast<const char*>(mask.data()) +
                                             (words_.first - all_.first) * mask_bits_ / 8);
  }
  // Calls visit for the chunk's words, or all of the tiles that they are in, tile by tile, with the
  // place of their cells.
  template <class Visit>
  void visit_tiles(Visit&& visit) const;
  void take_hits();
  template <uint32_t kBytes>
  void take_blocks(const simd::FoundCells& found);
  void take_tripled(uint32_t cell);
  void make(int64_t sample);
  void decode_all(int64_t sample);
  void decode_hits(int64_t sample);
  void list(int64_t word, uint64_t zero, uint64_t one);
  void into_masks();
  void clear();

  const CodedLoad* coded_ = nullptr;
  CodedLoad::Tile words_{};
  CodedLoad::Tile all_{};  // of whole tiles, which the words are in
  uint64_t first_byte_ = 0, end_byte_ = 0;
  int mask_bits_ = 8;
  CodeBlock block_{};
  bool tripled_ = false;
  bool listable_ = false;
  bool fixed_ = false;  // whether the flips are the same for all samples
  bool whole_ = false;  // whether flips are so many that all cells are decoded
  bool same_ = true;    // whether all flips of words are those of both values
  bool masked_ = false;
  JoinedFlips cells_;
  std::vector<Hit> hits_;
  std::vector<FlippedElement> listed_, none_;
  std::vector<uint64_t> zero_, one_;  // masks of words
  size_t dirty_words_ = 0;            // of these, from the first on; what is listed apart
  bool scattered_ = false;            // whether they hold what is listed
  std::vector<uint8_t> stored_;
  std::vector<int64_t> detected_;
};

}  // namespace eden
