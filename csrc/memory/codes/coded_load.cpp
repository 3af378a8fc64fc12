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
void words_from_values(const char* in, int64_t count, ElementCode code, WordOf<C>* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    typename C::Unsigned bits;
    std::memcpy(&bits, in + i * static_cast<int64_t>(sizeof(bits)), sizeof(bits));
    out[i] = static_cast<WordOf<C>>(C::template stored<kCorrects>(bits, code));
  }
}

template <class C, bool kCorrects>
void values_from_words(const WordOf<C>* __restrict in, int64_t count, ElementCode code, char* out) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<typename C::Unsigned>(
        C::template value_bits<kCorrects>(C::decode(in[i], code), code));
    std::memcpy(out + i * static_cast<int64_t>(sizeof(bits)), &bits, sizeof(bits));
  }
}

// Words to the cells of whole blocks and back; there is room for those that fill the last block up.
void words_to_cells(Storage storage, uint8_t* words, int64_t count, uint8_t* cells) {
  switch (traits_of(storage).protection) {
    case Protection::kSecded: {
      const int64_t size = count * (storage_bits(storage) / 8);
      // The last block is filled up with zeros.
      std::memset(words + size, 0, Secded::kDataBytes);
      for (int64_t i = 0; i < size; i += Secded::kDataBytes, cells += Secded::kBlockBytes) {
        uint64_t data;
        std::memcpy(&data, words + i, Secded::kDataBytes);
        std::memcpy(cells, &data, Secded::kDataBytes);
        cells[Secded::kDataBytes] = Secded::checks(data);
      }
      return;
    }
    case Protection::kHamming:
      words[count] = 0;
      return Hamming::encode(words, hamming_words(count), cells);
    default:
      return TripledSign::encode(words, count, cells);
  }
}

// Calls detect(block) for those whose errors are detected.
template <class Detect>
void cells_to_words(Storage storage, const uint8_t* cells, int64_t count, uint8_t* words,
                    Detect&& detect) {
  switch (traits_of(storage).protection) {
    case Protection::kSecded: {
      const int64_t size = count * (storage_bits(storage) / 8);
      for (int64_t i = 0; i < size; i += Secded::kDataBytes, cells += Secded::kBlockBytes) {
        uint64_t data;
        std::memcpy(&data, cells, Secded::kDataBytes);
        const uint8_t check = cells[Secded::kDataBytes];
        const Secded::Decoded decoded = Secded::decode(data, check);
        data = decoded.data;
        if (decoded.detected) detect(i / Secded::kDataBytes);
        std::memcpy(words + i, &data, Secded::kDataBytes);
      }
      return;
    }
    case Protection::kHamming:
      return Hamming::decode(cells, hamming_words(count), words);
    default:
      return TripledSign::decode(cells, count, words);
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

template <class Codec, class Visit>
void CodedLoad::visit_stretches(int64_t sample, const Tile& words, Visit&& visit) const {
  const Conversion& conversion = load_.conversion;
  const LoadShape& shape = load_.shape;
  for (int64_t i = 0, length = 0; i < words.count; i += length) {
    const int64_t element = words.first + i, group = element / conversion.channel_inner;
    length = words.count - i;
    if (conversion.channels > 1) {
      length = std::min(length, (group + 1) * conversion.channel_inner - element);
    }
    if (shape.outer > 1) length = std::min(length, shape.inner - element % shape.inner);
    const auto at = static_cast<size_t>(shape.tensor_index(sample, element));
    visit(i, length, at * (Codec::kValueBits / 8),
          Codec::code_of_channel(conversion, group % conversion.channels));
  }
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::encode_stretch(int64_t sample, const Tile& words, uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  const bool corrects = load_.conversion.correction != Correction::kNone;
  WordOf<C>* const to = words_of<C>(words.count);
  visit_stretches<C>(
      sample, words, [&](int64_t i, int64_t length, size_t at, const ElementCode& code) {
        const auto encode = [&]<bool kCorrects>() {
          words_from_values<C, kCorrects>(in_ + at, length, code, to + i);
        };
        corrects ? encode.template operator()<true>() : encode.template operator()<false>();
      });
  words_to_cells(kStorage, reinterpret_cast<uint8_t*>(to), words.count, cells);
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::decode_tile(int64_t piece, const uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  const int64_t sample = piece / tiles_;
  const Tile words = tile(piece % tiles_);
  cells += sample * sample_bytes_ + cells_of(kStorage, words.first) / 8;
  WordOf<C>* const from = words_of<C>(words.count);
  static thread_local std::vector<int64_t> detected;
  detected.clear();
  cells_to_words(
      kStorage, cells, words.count, reinterpret_cast<uint8_t*>(from),
      [&](int64_t block) { detected.push_back(words.first + block * code_block(kStorage).words); });
  visit_stretches<C>(
      sample, words, [&](int64_t i, int64_t length, size_t at, const ElementCode& code) {
        const auto decode = [&]<bool kCorrects>() {
          values_from_words<C, kCorrects>(from + i, length, code, out_ + at);
        };
        load_.conversion.correction == Correction::kNone ? decode.template operator()<false>()
                                                         : decode.template operator()<true>();
      });
  replace_detected(sample, detected);
}

void CodedLoad::replace_detected(int64_t sample, const std::vector<int64_t>& detected) const {
  if (load_.conversion.correction != Correction::kZero) return;
  const int64_t bytes = storage_bits(own_storage(value_)) / 8;
  for (const int64_t first : detected) {
    const int64_t end = std::min(first + code_block(storage_).words, sample_words());
    for (int64_t i = first; i < end; ++i) {
      std::memset(out_ + load_.shape.tensor_index(sample, i) * bytes, 0,
                  static_cast<size_t>(bytes));
    }
  }
}

void CodedLoad::encode_words(int64_t sample, const Tile& words, uint8_t* cells) const {
  visit_codec<true>(value_, storage_, [&]<ValueType kValue, Storage kStorage>() {
    encode_stretch<kValue, kStorage>(sample, words, cells);
  });
}

void CodedLoad::decode_flips(const uint8_t* cells, const Tile& tile, uint8_t* words,
                             std::vector<int64_t>& detected) const {
  if (traits_of(storage_).protection != Protection::kSecded) {
    return cells_to_words(storage_, cells, tile.count, words, [](int64_t) {});
  }
  const CodeBlock block = code_block(storage_);
  const bool replaces = load_.conversion.correction == Correction::kZero;
  for (int64_t i = 0; i < tile.count; i += block.words, cells += Secded::kBlockBytes) {
    uint64_t data;
    std::memcpy(&data, cells, Secded::kDataBytes);
    const uint8_t check = cells[Secded::kDataBytes];
    if (Secded::at_most_one(data, check)) {
      data = 0;  // which is corrected
    } else {
      const Secded::Decoded decoded = Secded::decode(data, check);
      data = decoded.data;
      if (replaces && decoded.detected) detected.push_back(tile.first + i);
    }
    std::memcpy(words, &data, Secded::kDataBytes);
    words += Secded::kDataBytes;
  }
}

void CodedLoad::encode(int64_t first_piece, int64_t last_piece, uint8_t* cells) const {
  for (int64_t i = first_piece; i < last_piece; ++i) {
    const int64_t sample = i / tiles_;
    const Tile words = tile(i % tiles_);
    encode_words(sample, words,
                 cells + sample * sample_bytes_ + cells_of(storage_, words.first) / 8);
  }
}

void CodedLoad::decode(int64_t first_piece, int64_t last_piece, const uint8_t* cells) const {
  visit_codec<true>(value_, storage_, [&]<ValueType kValue, Storage kStorage>() {
    for (int64_t i = first_piece; i < last_piece; ++i) decode_tile<kValue, kStorage>(i, cells);
  });
}

}  // namespace eden
