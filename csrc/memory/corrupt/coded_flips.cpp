#include "memory/corrupt/coded_flips.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace eden {
namespace {

// From so many blocks, or words of a tripled sign, to a found cell down, decoding all of them costs
// less than looking at those that are hit.
size_t blocks_per_cell(Protection protection) {
  return protection == Protection::kSecded ? 2 : protection == Protection::kHamming ? 8 : 40;
}

// From so many hit blocks among all on, all words are encoded.
constexpr size_t kBlocksPerHit = 8;

uint64_t bytes_of(Storage storage, int64_t words) {
  return static_cast<uint64_t>(cells_of(storage, words) / 8);
}

}  // namespace

CodeBlock chunk_unit(Storage storage) {
  if (traits_of(storage).protection != Protection::kTripledSign) return code_block(storage);
  // A power of two of these are tiles.
  return {3, 3};
}

template <class Visit>
void CodedFlips::visit_tiles(Visit&& visit) const {
  const int64_t end = all_.first + all_.count;
  for (int64_t word = all_.first; word < end;) {
    const CodedLoad::Tile tile = coded_->tile_of(word);
    const int64_t next = std::min(tile.first + tile.count, end);
    visit(CodedLoad::Tile{word, next - word}, bytes_of(coded_->storage(), word) - first_byte_);
    word = next;
  }
}

void CodedFlips::begin(const simd::Kernels& kernels, const CodedLoad& coded,
                       const CodedLoad::Tile& words, bool symmetric) {
  clear();
  hits_.clear();
  coded_ = &coded;
  words_ = all_ = words;
  const Storage storage = coded.storage();
  block_ = code_block(storage);
  tripled_ = traits_of(storage).protection == Protection::kTripledSign;
  mask_bits_ = mask_bits(storage);
  if (tripled_) {
    const CodedLoad::Tile last = coded.tile_of(words.first + words.count - 1);
    all_.first = coded.tile_of(words.first).first;
    all_.count = last.first + last.count - all_.first;
  }
  first_byte_ = bytes_of(storage, all_.first);
  end_byte_ = first_byte_ + bytes_of(storage, all_.count);
  same_ = symmetric || !tripled_;
  fixed_ = symmetric || tripled_;
  whole_ = masked_ = false;
  cells_.begin(kernels, 8 * (end_byte_ - first_byte_), symmetric);
}

void CodedFlips::end(bool listable) {
  listable_ = listable;
  const size_t found = cells_.join();
  const auto blocks = static_cast<size_t>(all_.count / block_.words);
  const Protection protection = traits_of(coded_->storage()).protection;
  whole_ = cells_.dense() || found * blocks_per_cell(protection) > blocks;
  if (!whole_) take_hits();
  if (fixed_) make(0);
}

void CodedFlips::read(int64_t sample) {
  if (!fixed_) make(sample);
}

// Of the cells that were found, the blocks in which they do not flip alone, taken out of the masks.
void CodedFlips::take_hits() {
  for (const simd::FoundCells* found : cells_.found()) {
    if (tripled_) {
      for (size_t i = 0; i < found->size; ++i) take_tripled(found->cell[i] >> 1);
    } else if (block_.bytes == Hamming::kBlockBytes) {
      take_blocks<Hamming::kBlockBytes>(*found);
    } else {
      take_blocks<Secded::kBlockBytes>(*found);
    }
  }
  cells_.taken();
}

template <uint32_t kBytes>
void CodedFlips::take_blocks(const simd::FoundCells& found) {
  uint8_t *const zeros = cells_.bytes(false), *const ones = cells_.bytes(!cells_.symmetric());
  // All bytes but the last one, and that.
  const auto take = [](uint8_t* from, uint64_t& bits, uint8_t& last) {
    bits = 0;
    std::memcpy(&bits, from, kBytes - 1);
    last = from[kBytes - 1];
  };
  for (size_t i = 0; i < found.size; ++i) {
    const uint32_t block = (found.cell[i] >> 1) / 8 / kBytes, at = block * kBytes;
    Hit hit;
    take(zeros + at, hit.zero, hit.last_zero);
    take(ones + at, hit.one, hit.last_one);
    std::memset(zeros + at, 0, kBytes);
    std::memset(ones + at, 0, kBytes);
    const uint64_t bits = hit.zero | hit.one;
    const unsigned last = hit.last_zero | hit.last_one;
    // One alone is corrected, whatever it stores; none is a block that was taken before.
    const bool outside = kBytes == Hamming::kBlockBytes && (bits >> Hamming::kOutside & 1) != 0;
    if (Secded::at_most_one(bits, last) && !outside) continue;
    hit.word = words_.first + int64_t{block} * block_.words;
    hits_.push_back(hit);
  }
}

// The word of a cell. The copies of its sign store the same, so it flips if two of them would.
void CodedFlips::take_tripled(uint32_t cell) {
  const uint32_t byte = cell / 8, bit = cell % 8;
  const CodedLoad::Tile tile = coded_->tile_of(all_.first + byte);
  const int64_t begin = tile.first - all_.first, third = tile.count / 3;
  const auto turned = [&](int64_t by) {
    return begin + (byte - begin + by + tile.count) % tile.count;
  };
  const int64_t word = bit == 6 ? turned(-third) : bit == 5 ? turned(-2 * third) : byte;
  const int64_t copy[3] = {word, begin + (word - begin + third) % tile.count,
                           begin + (word - begin + 2 * third) % tile.count};
  // Codes are linear: flips decode as cells do.
  const auto take = [&](uint8_t* mask) -> uint64_t {
    const unsigned flips = TripledSign::word_of(mask[copy[0]], mask[copy[1]], mask[copy[2]]);
    mask[word] = static_cast<uint8_t>(mask[word] & ~TripledSign::kMagnitude);
    for (int i = 0; i < 3; ++i) {
      mask[copy[i]] = static_cast<uint8_t>(mask[copy[i]] & ~(0x80 >> i));
    }
    return flips;
  };
  Hit hit{all_.first + word, take(cells_.bytes(false)), 0, 0, 0};
  hit.one = cells_.symmetric() ? hit.zero : take(cells_.bytes(true));
  if ((hit.zero | hit.one) != 0) hits_.push_back(hit);
}

// The flips of the words of a sample, or of any sample if they are the same for all.
void CodedFlips::make(int64_t sample) {
  clear();
  if (whole_) {
    decode_all(sample);
    masked_ = true;
    return;
  }
  decode_hits(sample);
  const auto places = static_cast<size_t>(words_.count) * static_cast<size_t>(mask_bits_);
  masked_ = !listed_.empty() && !(listable_ && listed_.size() * kCellsPerFlipInList < places);
  if (masked_) into_masks();
}

void CodedFlips::decode_all(int64_t sample) {
  const size_t size = end_byte_ - first_byte_;
  const uint8_t *zero = cells_.bytes(false), *one = cells_.bytes(!cells_.symmetric());
  if (!fixed_) {
    // Which of them flip, by what they store, in whole words.
    stored_.resize(size + sizeof(uint64_t));
    visit_tiles([&](const CodedLoad::Tile& tile, uint64_t byte) {
      coded_->encode_words(sample, tile, stored_.data() + byte);
    });
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
      uint64_t stored, if_zero, if_one;
      std::memcpy(&stored, stored_.data() + i, sizeof(stored));
      std::memcpy(&if_zero, zero + i, sizeof(stored));
      std::memcpy(&if_one, one + i, sizeof(stored));
      stored = (stored & if_one) | (~stored & if_zero);
      std::memcpy(stored_.data() + i, &stored, sizeof(stored));
    }
    zero = stored_.data();
  }
  // With what fills the last block up.
  dirty_words_ = static_cast<size_t>(all_.count) * static_cast<size_t>(mask_bits_) / 64 + 2;
  const size_t room = dirty_words_ + kSpareWords;
  if (zero_.size() < room) zero_.resize(room), one_.resize(room);
  const auto decode = [&](const uint8_t* cells, std::vector<uint64_t>& mask) {
    auto* const words = reinterpret_cast<uint8_t*>(mask.data());
    visit_tiles([&](const CodedLoad::Tile& tile, uint64_t byte) {
      coded_->decode_flips(cells + byte, tile, words + (tile.first - all_.first) * mask_bits_ / 8,
                           detected_);
    });
  };
  decode(zero, zero_);
  if (!same_) decode(one, one_);
}

void CodedFlips::decode_hits(int64_t sample) {
  const auto words = static_cast<size_t>(words_.count);
  const bool all =
      !fixed_ && hits_.size() * kBlocksPerHit * static_cast<size_t>(block_.words) > words;
  if (all) {
    stored_.resize(end_byte_ - first_byte_);
    coded_->encode_words(sample, words_, stored_.data());
  }
  for (const Hit& hit : hits_) {
    if (tripled_) {
      list(hit.word, hit.zero, hit.one);
      continue;
    }
    uint64_t bits = hit.zero;
    unsigned last = hit.last_zero;
    if (!fixed_) {
      uint8_t own[Secded::kBlockBytes];
      const uint8_t* cells = own;
      if (all) {
        cells = stored_.data() + bytes_of(coded_->storage(), hit.word) - first_byte_;
      } else {
        const int64_t left = words_.first + words_.count - hit.word;
        coded_->encode_words(sample, {hit.word, std::min(block_.words, left)}, own);
      }
      const auto size = static_cast<size_t>(block_.bytes);
      uint64_t stored = 0;
      std::memcpy(&stored, cells, size - 1);
      bits = (stored & hit.one) | (~stored & hit.zero);
      const unsigned check = cells[size - 1];
      last = (check & hit.last_one) | (~check & hit.last_zero);
    }
    if (block_.bytes == Hamming::kBlockBytes) {
      const uint8_t cells[2] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(last)};
      uint8_t read[2];
      Hamming::decode(cells, 2, read);
      for (int64_t i = 0; i < 2; ++i) {
        if (read[i] != 0) list(hit.word + i, read[i], read[i]);
      }
      continue;
    }
    const Secded::Decoded read = Secded::decode(bits, static_cast<uint8_t>(last));
    if (read.detected) detected_.push_back(hit.word);
    const auto width = static_cast<unsigned>(mask_bits_);
    const uint64_t field = (uint64_t{1} << width) - 1;
    for (uint64_t left = read.data; left != 0;) {
      const auto word = static_cast<unsigned>(std::countr_zero(left)) / width;
      const uint64_t flips = left >> (word * width) & field;
      list(hit.word + word, flips, flips);
      left &= ~(field << (word * width));
    }
  }
}

// Words beyond the chunk's are others', or fill its last block up.
void CodedFlips::list(int64_t word, uint64_t zero, uint64_t one) {
  if (word < words_.first || word >= words_.first + words_.count) return;
  listed_.push_back({static_cast<uint64_t>(word) * static_cast<uint64_t>(mask_bits_),
                     static_cast<uint32_t>(zero), static_cast<uint32_t>(one)});
}

void CodedFlips::into_masks() {
  const size_t words = static_cast<size_t>(all_.count) * static_cast<size_t>(mask_bits_) / 64;
  if (zero_.size() < words + kSpareWords) {
    zero_.resize(words + kSpareWords), one_.resize(words + kSpareWords);
  }
  const uint64_t first = static_cast<uint64_t>(all_.first) * static_cast<uint64_t>(mask_bits_);
  for (const FlippedElement& element : listed_) {
    const uint64_t bit = element.address - first;
    zero_[bit / 64] |= uint64_t{element.zero} << (bit % 64);
    if (!same_) one_[bit / 64] |= uint64_t{element.one} << (bit % 64);
  }
  scattered_ = true;
}

void CodedFlips::clear() {
  const uint64_t first = static_cast<uint64_t>(all_.first) * static_cast<uint64_t>(mask_bits_);
  if (scattered_) {
    for (const FlippedElement& element : listed_) {
      zero_[(element.address - first) / 64] = one_[(element.address - first) / 64] = 0;
    }
  }
  std::fill_n(zero_.begin(), dirty_words_, 0);
  if (!same_) std::fill_n(one_.begin(), dirty_words_, 0);
  dirty_words_ = 0;
  scattered_ = false;
  masked_ = false;
  listed_.clear();
  detected_.clear();
}

}  // namespace eden
