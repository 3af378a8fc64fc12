#include "memory/codes/coded_load.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/refusal.h"

namespace eden {
namespace {

// Blocks of SECDED that are worked on as one piece.
constexpr int64_t kBlocksInTile = 512;

template <Storage kStorage>
constexpr int64_t kInBlock = Secded::kDataBits / storage_bits(kStorage);

template <Storage kStorage>
constexpr bool kIsSecded = traits_of(kStorage).protection == Protection::kSecded;

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
  } else {
    // What is left over belongs to the last tile, so that none is small beside others.
    tile_ = TripledSign::kTileBytes;
    tiles_ = std::max<int64_t>(elements / tile_, elements > 0 ? 1 : 0);
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
void CodedLoad::visit_elements(const Tile& tile, Visit&& visit) const {
  const Conversion& conversion = load_.conversion;
  int64_t channel = tile.first / conversion.channel_inner % conversion.channels;
  int64_t left = conversion.channel_inner - tile.first % conversion.channel_inner;
  ElementCode code = Codec::code_of_channel(conversion, channel);
  for (int64_t i = 0; i < tile.count; ++i, --left) {
    if (left == 0) {
      left = conversion.channel_inner;
      channel = channel + 1 == conversion.channels ? 0 : channel + 1;
      if (conversion.channels > 1) code = Codec::code_of_channel(conversion, channel);
    }
    const auto at = static_cast<size_t>(load_.shape.tensor_index(tile.sample, tile.first + i)) *
                    (Codec::kValueBits / 8);
    visit(i, at, code);
  }
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::encode_tile(const Tile& tile, uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  cells += tile.sample * sample_bytes_ + cells_of(kStorage, tile.first) / 8;
  const bool corrects = load_.conversion.correction != Correction::kNone;
  const auto word_at = [&](size_t at, const ElementCode& code) {
    typename C::Unsigned bits;
    std::memcpy(&bits, in_ + at, sizeof(bits));
    return corrects ? C::template stored<true>(bits, code) : C::template stored<false>(bits, code);
  };
  if constexpr (kIsSecded<kStorage>) {
    constexpr int64_t kWords = kInBlock<kStorage>;
    uint64_t data = 0;
    visit_elements<C>(tile, [&](int64_t i, size_t at, const ElementCode& code) {
      const int64_t place = i % kWords;
      data |= static_cast<uint64_t>(word_at(at, code)) << (place * C::kWidthBits);
      if (place + 1 < kWords && i + 1 < tile.count) return;
      uint8_t* block = cells + i / kWords * Secded::kBlockBytes;
      std::memcpy(block, &data, Secded::kDataBytes);
      block[Secded::kDataBytes] = Secded::checks(data);
      data = 0;
    });
  } else {
    static thread_local std::vector<uint8_t> words;
    words.resize(static_cast<size_t>(tile.count));
    visit_elements<C>(tile, [&](int64_t i, size_t at, const ElementCode& code) {
      words[static_cast<size_t>(i)] = static_cast<uint8_t>(word_at(at, code));
    });
    TripledSign::encode(words.data(), tile.count, cells);
  }
}

template <ValueType kValue, Storage kStorage>
void CodedLoad::decode_tile(const Tile& tile, const uint8_t* cells) const {
  using C = Codec<kValue, kStorage>;
  cells += tile.sample * sample_bytes_ + cells_of(kStorage, tile.first) / 8;
  const Correction correction = load_.conversion.correction;
  const auto write = [&](size_t at, uint32_t word, const ElementCode& code) {
    const float value = C::decode(word, code);
    const auto bits = static_cast<typename C::Unsigned>(
        correction == Correction::kNone ? C::template value_bits<false>(value, code)
                                        : C::template value_bits<true>(value, code));
    std::memcpy(out_ + at, &bits, sizeof(bits));
  };
  if constexpr (kIsSecded<kStorage>) {
    constexpr int64_t kWords = kInBlock<kStorage>;
    uint64_t data = 0;
    bool replaced = false;
    visit_elements<C>(tile, [&](int64_t i, size_t at, const ElementCode& code) {
      const int64_t place = i % kWords;
      if (place == 0) {
        const uint8_t* block = cells + i / kWords * Secded::kBlockBytes;
        std::memcpy(&data, block, Secded::kDataBytes);
        const Secded::Decoded decoded = Secded::decode(data, block[Secded::kDataBytes]);
        data = decoded.data;
        replaced = decoded.detected && correction == Correction::kZero;
      }
      const auto word = static_cast<uint32_t>(data >> (place * C::kWidthBits)) & C::kMask;
      if (!replaced) return write(at, word, code);
      std::memset(out_ + at, 0, C::kValueBits / 8);
    });
  } else {
    static thread_local std::vector<uint8_t> words;
    words.resize(static_cast<size_t>(tile.count));
    TripledSign::decode(cells, tile.count, words.data());
    visit_elements<C>(tile, [&](int64_t i, size_t at, const ElementCode& code) {
      write(at, words[static_cast<size_t>(i)], code);
    });
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
