#include "memory/codes/coded_load.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/refusal.h"

namespace eden {
namespace {

// What is worked on as one piece: blocks of SECDED, words of a Hamming code.
constexpr int64_t kBlocksInTile = 512;
constexpr int64_t kHammingInTile = 4096;

// Words of whole blocks.
constexpr int64_t hamming_words(int64_t count) { return count + count % Hamming::kBlockWords; }

template <Storage kStorage>
constexpr int64_t kInBlock = Secded::kDataBits / storage_bits(kStorage);

template <Storage kStorage>
constexpr bool kIsSecded = traits_of(kStorage).protection == Protection::kSecded;
template <Storage kStorage>
constexpr bool kIsHamming = traits_of(kStorage).protection == Protection::kHamming;

template <class C>
using WordOf = UnsignedOf<(C::kWidthBits < 8 ? 8 : C::kWidthBits)>;

// A thread's words of a tile, with room for those that fill its last block up.
template <class C>
WordOf<C>* words_of(int64_t count) {
  static thread_local std::vector<WordOf<C>> words;
  words.resize(static_cast<size_t>(count + Secded::kDataBits / C::kWidthBits));
  return words.data();
}

// `out` is never `in` here, and neither need be aligned.
template <class C, bool kCorrects>
void encode_words(const char* in, int64_t count, ElementCode code, WordOf<C>* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    typename C::Unsigned bits;
    std::memcpy(&bits, in + i * static_cast<int64_t>(sizeof(bits)), sizeof(bits));
    out[i] = static_cast<WordOf<C>>(C::template stored<kCorrects>(bits, code));
  }
}

template <class C, bool kCorrects>
void decode_words(const WordOf<C>* __restrict in, int64_t count, ElementCode code, char* out) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<typename C::Unsigned>(
        C::template value_bits<kCorrects>(C::decode(in[i], code), code));
    std::memcpy(out + i * static_cast<int64_t>(sizeof(bits)), &bits, sizeof(bits));
  }
}

}  // namespace

CodedLoad::CodedLoad(const Load& load, ValueType value, Storage storage, const void* in, void* out)
    : load_(load),
      value_(value),
      storage_(storage),
      in_(static_cast<const char*>(in)),
      out_(static_cast<char*>(out)),
      sample_bytes_(cells_of(storage, load.shape.sample_size()) / 8) {
  if (load.in_planes()) refuse("a storage with a code of several words cannot lie in planes");
  const int64_t elements = load.shape.sample_size();
  if (traits_of(storage).protection == Protection::kSecded) {
    tile_ = kBlocksInTile * Secded::kDataBits / storage_bits(storage);
    tiles_ = (elements + tile_ - 1) / tile_;
  } else if (traits_of(storage).protection == Protection::kHamming) {
    tile_ = kHammingInTile;
    tiles_ = (elements + tile_ - 1) / tile_;
  } else {
    tile_ = TripledSign::kTileBytes;
    tiles_ = TripledSign::tiles(elements);
  }
}

Load CodedLoad::of_cells() const {
  Load cells = load_;
  cells.shape = {1, load_.shape.batch, sample_bytes_};
  cells.conversion = {};
  return cells;
}

CodedLoad::Tile CodedLoad::tile(int64_t piece) const {
  const int64_t which = piece % tiles_;
  const int64_t first = which * tile_;
  const int64_t end = which + 1 == tiles_ ? load_.shape.sample_size() : first + tile_;
  return {piece / tiles_, first, end - first};
}

template <class Codec, class Visit>
void CodedLoad::visit_stretches(const Tile& tile, Visit&& visit) const {
  const Conversion& conversion = load_.conversion;
  const LoadShape& shape = load_.shape;
  for (int64_t i = 0, length = 0; i < tile.count; i += length) {
    const int64_t element = tile.first + i, group = element / conversion.channel_inner;
    length = tile.count - i;
    if (conversion.channels > 1) {
      length = std::min(length, (group + 1) * conversion.channel_inner - element);
    }
    if (shape.outer > 1) length = std::min(length, shape.inner - element % shape.inner);
    const auto at = static_cast<size_t>(shape.tensor_index(tile.sample, element));
    visit(i, length, at * (Codec::kValueBits / 8),
          Codec::code_of_channel(conversion, group % conversion.channels));
  }
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::encode_tile(const Tile& tile, uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  cells += tile.sample * sample_bytes_ + cells_of(kStorage, tile.first) / 8;
  const bool corrects = load_.conversion.correction != Correction::kNone;
  WordOf<C>* const words = words_of<C>(tile.count);
  visit_stretches<C>(tile, [&](int64_t i, int64_t length, size_t at, const ElementCode& code) {
    const auto encode = [&]<bool kCorrects>() {
      encode_words<C, kCorrects>(in_ + at, length, code, words + i);
    };
    corrects ? encode.template operator()<true>() : encode.template operator()<false>();
  });
  if constexpr (kIsSecded<kStorage>) {
    // The last block is filled up with zeros.
    constexpr int64_t kWords = kInBlock<kStorage>;
    const int64_t blocks = (tile.count + kWords - 1) / kWords;
    std::fill(words + tile.count, words + blocks * kWords, 0);
    for (int64_t block = 0; block < blocks; ++block, cells += Secded::kBlockBytes) {
      uint64_t data;
      std::memcpy(&data, words + block * kWords, Secded::kDataBytes);
      std::memcpy(cells, &data, Secded::kDataBytes);
      cells[Secded::kDataBytes] = Secded::checks(data);
    }
  } else if constexpr (kIsHamming<kStorage>) {
    const int64_t count = hamming_words(tile.count);
    std::fill(words + tile.count, words + count, 0);
    Hamming::encode(words, count, cells);
  } else {
    TripledSign::encode(words, tile.count, cells);
  }
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::decode_tile(const Tile& tile, const uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  cells += tile.sample * sample_bytes_ + cells_of(kStorage, tile.first) / 8;
  const Correction correction = load_.conversion.correction;
  WordOf<C>* const words = words_of<C>(tile.count);
  static thread_local std::vector<int64_t> replaced;  // elements that begin a block read as zeros
  replaced.clear();
  if constexpr (kIsSecded<kStorage>) {
    constexpr int64_t kWords = kInBlock<kStorage>;
    for (int64_t i = 0; i < tile.count; i += kWords, cells += Secded::kBlockBytes) {
      uint64_t data;
      std::memcpy(&data, cells, Secded::kDataBytes);
      const Secded::Decoded decoded = Secded::decode(data, cells[Secded::kDataBytes]);
      std::memcpy(words + i, &decoded.data, Secded::kDataBytes);
      if (decoded.detected && correction == Correction::kZero) replaced.push_back(i);
    }
  } else if constexpr (kIsHamming<kStorage>) {
    Hamming::decode(cells, hamming_words(tile.count), words);
  } else {
    TripledSign::decode(cells, tile.count, words);
  }
  visit_stretches<C>(tile, [&](int64_t i, int64_t length, size_t at, const ElementCode& code) {
    const auto decode = [&]<bool kCorrects>() {
      decode_words<C, kCorrects>(words + i, length, code, out_ + at);
    };
    correction == Correction::kNone ? decode.template operator()<false>()
                                    : decode.template operator()<true>();
  });
  for (const int64_t first : replaced) {
    const int64_t end = std::min(first + Secded::kDataBits / C::kWidthBits, tile.count);
    for (int64_t i = first; i < end; ++i) {
      const int64_t at = load_.shape.tensor_index(tile.sample, tile.first + i);
      std::memset(out_ + at * (C::kValueBits / 8), 0, C::kValueBits / 8);
    }
  }
}

void CodedLoad::encode(int64_t first_piece, int64_t last_piece, uint8_t* cells) const {
  visit_codec<true>(value_, storage_, [&]<ValueType kValue, Storage kStorage>() {
    for (int64_t i = first_piece; i < last_piece; ++i) {
      encode_tile<kValue, kStorage>(tile(i), cells);
    }
  });
}

void CodedLoad::decode(int64_t first_piece, int64_t last_piece, const uint8_t* cells) const {
  visit_codec<true>(value_, storage_, [&]<ValueType kValue, Storage kStorage>() {
    for (int64_t i = first_piece; i < last_piece; ++i) {
      decode_tile<kValue, kStorage>(tile(i), cells);
    }
  });
}

}  // namespace eden
