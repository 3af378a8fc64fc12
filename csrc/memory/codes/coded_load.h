// A load of an operand whose storage has a code of several words: the samples' words become a
// stream of bytes each, its cells. Whoever reads those as any tensor of bytes can make words of
// them again; but as the codes are linear, flips of cells decode to flips of words by themselves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "memory/corrupt/load.h"

namespace eden {

class CodedLoad {
 public:
  // `in` and `out` are row-major tensors of a type that can be kept in the storage, which is_coded;
  // they may be the same.
  CodedLoad(const Load& load, ValueType value, Storage storage, const void* in, void* out);

  Storage storage() const { return storage_; }
  int64_t sample_words() const { return load_.shape.sample_size(); }
  // Bytes of all samples' cells, one sample after another.
  int64_t cell_bytes() const { return sample_bytes_ * load_.shape.batch; }
  // The load of these bytes, of type and storage kUint8: the same regions, chip and access.
  Load of_cells() const;

  // Parts of the work that may be done in any order by any number of threads; all parts of one step
  // before the next.
  int64_t pieces() const { return tiles_ * load_.shape.batch; }
  int64_t elements_per_piece() const { return tile_; }
  void encode(int64_t first_piece, int64_t last_piece, uint8_t* cells) const;
  void decode(int64_t first_piece, int64_t last_piece, const uint8_t* cells) const;

  // Words of a sample that are coded together or, where blocks are small, as many as are worked on
  // at once.
  struct Tile {
    int64_t first;
    int64_t count;
  };
  Tile tile_of(int64_t word) const { return tile(std::min(word / tile_, tiles_ - 1)); }
  // The cells that some words of a sample are kept in: whole tiles, or whole blocks.
  void encode_words(int64_t sample, const Tile& words, uint8_t* cells) const;
  // The words' flips, of mask_bits each, that flips of the cells of a tile come to, if each is one
  // whatever the cell stores; of a tripled sign likewise if each is one of cells that store the
  // same. Appends the first word of each block whose errors are detected.
  void decode_flips(const uint8_t* cells, const Tile& tile, uint8_t* words,
                    std::vector<int64_t>& detected) const;
  // Writes zeros in place of the words of such blocks, if the correction says so.
  void replace_detected(int64_t sample, const std::vector<int64_t>& detected) const;

 private:
  Tile tile(int64_t which) const {
    const int64_t first = which * tile_;
    const int64_t end = which + 1 == tiles_ ? sample_words() : first + tile_;
    return {first, end - first};
  }
  template <ValueType kValue, Storage kStorage>
  void encode_stretch(int64_t sample, const Tile& words, uint8_t* cells) const;
  template <ValueType kValue, Storage kStorage>
  void decode_tile(int64_t piece, const uint8_t* cells) const;
  // Calls visit(first word of these, how many, their place in bytes of the tensor, their code) for
  // elements of one channel that are neighbours in the tensor.
  template <class Codec, class Visit>
  void visit_stretches(int64_t sample, const Tile& words, Visit&& visit) const;

  Load load_;
  ValueType value_;
  Storage storage_;
  const char* in_;
  char* out_;
  int64_t sample_bytes_;
  int64_t tile_;  // words; the last tile of a sample may have fewer, or of a tripled sign more
  int64_t tiles_;
};

}  // namespace eden
