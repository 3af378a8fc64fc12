// The flips of an operand in planes, gathered as bits of its words, which then pass once.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "memory/corrupt/flips.h"

namespace eden {

// Where the bits of a plane are in words.
class PlaneBits {
 public:
  PlaneBits(uint32_t plane, uint64_t width)
      : bits_(plane_bits(plane, width)), width_(width), inverse_((uint64_t{1} << 32) / bits_ + 1) {
    for (size_t i = 0; plane != 0; plane &= plane - 1) {
      position_[i++] = static_cast<uint8_t>(__builtin_ctz(plane));
    }
  }

  uint64_t count() const { return bits_; }
  // Of the plane's bit with this number, the bit of all words one after the other.
  uint64_t in_words(uint64_t bit) const {
    const uint64_t element = bit / bits_;
    return element * width_ + position_[bit - element * bits_];
  }
  // The same of numbers below kFewBits: a quotient by the rounded-up inverse is exact there.
  uint64_t in_few_words(uint64_t bit) const {
    const uint64_t element = (bit * inverse_) >> 32;
    return element * width_ + position_[bit - element * bits_];
  }
  static constexpr uint64_t kFewBits = uint64_t{1} << 27;

 private:
  uint64_t bits_, width_, inverse_;
  uint8_t position_[32] = {};
};

// Flips in bitlines, which are found for whole subarrays, before elements pass: gathered by the
// chunk of words that they are in.
class PlaneFlips {
 public:
  struct Flip {
    uint64_t bit;  // of the words
    bool zero, one;
  };

  PlaneFlips(int64_t chunks, uint64_t chunk_bits)
      : chunks_(static_cast<size_t>(chunks)), chunk_bits_(chunk_bits) {}

  // Enters one flip after another; several threads may have one of these each.
  class Writer {
   public:
    explicit Writer(PlaneFlips& flips) : flips_(flips) {}
    void enter(const Flip& flip) {
      const uint64_t which = flip.bit / flips_.chunk_bits_;
      if (into_ == nullptr || which != which_) {
        lock_ = {};  // never two at a time
        Chunk& chunk = flips_.chunks_[which];
        lock_ = std::unique_lock(chunk.entering);
        into_ = &chunk.flips, which_ = which;
      }
      into_->push_back(flip);
    }

   private:
    PlaneFlips& flips_;
    std::unique_lock<std::mutex> lock_;
    std::vector<Flip>* into_ = nullptr;
    uint64_t which_ = 0;
  };

  const std::vector<Flip>& chunk(int64_t which) const {
    return chunks_[static_cast<size_t>(which)].flips;
  }

 private:
  struct Chunk {
    std::mutex entering;
    std::vector<Flip> flips;
  };
  std::vector<Chunk> chunks_;
  uint64_t chunk_bits_;
};

// What a thread keeps of one chunk: all of its flips, as PatchFlips has those of a patch.
class JoinedFlips {
 public:
  // `symmetric` says that each bit flips whatever it stores, if it does.
  void begin(uint64_t bits, bool symmetric);
  // Takes the flips with which visit(add) calls add(bit, zero, one), at most so many.
  template <class Visit>
  void add(size_t most, Visit&& visit) {
    if (bits_.size() < size_ + most) bits_.resize(2 * (size_ + most));
    // For all that a compiler knows, a store to a mask could change a member.
    uint64_t *const zeros = zero_.data(), *const ones = one_.data();
    uint32_t* next = bits_.data() + size_;
    if (symmetric_) {
      visit([zeros, &next](uint64_t bit, bool, bool) {
        zeros[bit / 64] |= uint64_t{1} << (bit % 64);
        *next++ = static_cast<uint32_t>(bit);
      });
    } else {
      visit([zeros, ones, &next](uint64_t bit, bool zero, bool one) {
        zeros[bit / 64] |= uint64_t{zero} << (bit % 64);
        ones[bit / 64] |= uint64_t{one} << (bit % 64);
        *next++ = static_cast<uint32_t>(bit);
      });
    }
    size_ = static_cast<size_t>(next - bits_.data());
  }
  // For words of `width` bits, the first at this address; as masks even where flips are few, if a
  // list of elements is not `listable`.
  void end(uint64_t address, uint64_t width, bool listable);

  bool masked() const { return masked_; }
  const std::vector<FlippedElement>& listed() const { return listed_; }
  const uint64_t* zero(uint32_t) const { return zero_.data(); }
  const uint64_t* one(uint32_t) const { return (symmetric_ ? zero_ : one_).data(); }

 private:
  void clear();

  bool masked_ = false;
  bool symmetric_ = true;
  uint64_t cells_ = 0;
  std::vector<uint32_t> bits_;  // the first size_ of them were added
  size_t size_ = 0;
  std::vector<uint64_t> zero_, one_;
  std::vector<FlippedElement> listed_;
};

}  // namespace eden
