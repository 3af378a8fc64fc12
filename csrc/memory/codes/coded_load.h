// A load of an operand whose storage has a code of several words: the samples' words become a
// stream of bytes each, its cells; those are read as any tensor of bytes is, and become words
// again.
#pragma once

#include <cstdint>

#include "memory/corrupt/load.h"

namespace eden {

class CodedLoad {
 public:
  // `in` and `out` are row-major tensors of a type that can be kept in the storage, which is_coded;
  // they may be the same.
  CodedLoad(const Load& load, ValueType value, Storage storage, const void* in, void* out);

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

 private:
  struct Tile {
    int64_t sample;
    int64_t first;  // element
    int64_t count;
  };
  Tile tile(int64_t piece) const;
  template <ValueType kValue, Storage kStorage>
  void encode_tile(const Tile& tile, uint8_t* cells) const;
  template <ValueType kValue, Storage kStorage>
  void decode_tile(const Tile& tile, const uint8_t* cells) const;
  // Calls visit(first element of the tile, how many, their place in bytes of the tensor, their
  // code) for elements of one channel that are neighbours in the tensor.
  template <class Codec, class Visit>
  void visit_stretches(const Tile& tile, Visit&& visit) const;

  Load load_;
  ValueType value_;
  Storage storage_;
  const char* in_;
  char* out_;
  int64_t sample_bytes_;
  int64_t tile_;  // elements; the last tile of a sample may have fewer, or of a tripled sign more
  int64_t tiles_;
};

}  // namespace eden
