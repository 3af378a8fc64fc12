// Corrupting an operand on the host, on raw pointers: the flips of a stretch of cells are found
// once, in time proportional to their number, and applied to that stretch of every sample while it
// is in cache.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/load.h"
#include "core/storage.h"
#include "core/weak_cells.h"

namespace eden {

// What one thread keeps between the stretches that it works on.
class Stretch {
 public:
  // Finds the failing cells among cells [begin, end) of the load.
  void find(const Load& load, uint64_t begin, uint64_t end) {
    begin_ = begin;
    find_dense(load, begin, end);
    find_sparse(load, begin, end);
  }

  uint64_t begin() const { return begin_; }

  // Flips in `words`, the stored words of the stretch, whose cells begin at begin(); index_of(i) is
  // the place in `words` of the stretch's i-th word.
  template <class Word, class IndexOf>
  void apply(Word* words, int64_t count, IndexOf&& index_of) {
    constexpr int kWidth = 8 * static_cast<int>(sizeof(Word));
    // Every decision is made on the words as stored, before any of them changes: a cell can be
    // marked more than once.
    decided_.clear();
    for (const Candidate& candidate : sparse_) {
      const int64_t word = candidate.cell / kWidth;
      const int bit = static_cast<int>(candidate.cell % kWidth);
      const bool stored = (words[index_of(word)] >> bit) & 1;
      if (candidate.flips[stored]) decided_.push_back({candidate.cell, !stored});
    }
    if (dense_) {
      const uint64_t lead = begin_ - first_mask_cell_;
      for (int64_t i = 0; i < count; ++i) {
        const uint64_t offset = lead + static_cast<uint64_t>(i) * kWidth;
        const Word zero = static_cast<Word>(zero_[offset >> 5] >> (offset & 31));
        const Word one = static_cast<Word>(one_[offset >> 5] >> (offset & 31));
        Word& word = words[index_of(i)];
        word = static_cast<Word>(word ^ ((word & one) | (static_cast<Word>(~word) & zero)));
      }
    }
    for (const Decision& decision : decided_) {
      const Word bit = static_cast<Word>(Word{1} << (decision.cell % kWidth));
      Word& word = words[index_of(decision.cell / kWidth)];
      word = static_cast<Word>(decision.becomes ? word | bit : word & ~bit);
    }
  }

 private:
  struct Candidate {
    uint32_t cell;  // from begin()
    bool flips[2];  // if the cell stores 0, or 1
  };
  struct Decision {
    uint32_t cell;
    bool becomes;
  };

  void find_sparse(const Load& load, uint64_t begin, uint64_t end) {
    sparse_.clear();
    const Region& region = load.region;
    const uint64_t highest = std::max(region.sparse[0], region.sparse[1]);
    for (int level = first_level(highest); level <= kLastLevel; ++level) {
      const int bits = block_bits(level);
      for (uint64_t block = begin >> bits; block <= (end - 1) >> bits; ++block) {
        visit_marks(load.chip, level, block, [&](const Mark& mark) {
          const uint64_t cell = mark.cell();
          if (cell < begin || cell >= end || !mark.below(load.chip, highest)) return;
          if (!cell_fails(load.chip, cell, load.access, region.failure)) return;
          sparse_.push_back(
              {static_cast<uint32_t>(cell - begin),
               {mark.below(load.chip, region.sparse[0]), mark.below(load.chip, region.sparse[1])}});
        });
      }
    }
  }

  void find_dense(const Load& load, uint64_t begin, uint64_t end) {
    const Region& region = load.region;
    dense_ = (region.dense[0] | region.dense[1]) != 0;
    if (!dense_) return;
    const uint64_t first = begin >> kGroupBits, last = (end - 1) >> kGroupBits;
    first_mask_cell_ = first << kGroupBits;
    zero_.resize(last - first + 1);
    one_.resize(zero_.size());
    for (uint64_t group = first; group <= last; ++group) {
      const uint32_t zero = dense_weak(load.chip, group, region.dense[0]);
      const uint32_t one =
          region.dense[1] == region.dense[0] ? zero : dense_weak(load.chip, group, region.dense[1]);
      const uint32_t fails = failing(load.chip, group, load.access, region.failure, zero | one);
      zero_[group - first] = zero & fails;
      one_[group - first] = one & fails;
    }
  }

  uint64_t begin_ = 0;
  uint64_t first_mask_cell_ = 0;
  bool dense_ = false;
  std::vector<Candidate> sparse_;
  std::vector<Decision> decided_;
  std::vector<uint32_t> zero_, one_;
};

// The work of one load, cut into pieces that may be done in any order by any number of threads.
template <class Codec>
class LoadWork {
 public:
  using Value = typename Codec::Value;
  using Word = typename Codec::Word;

  // Large enough that the marks of deep levels, whose blocks span many stretches, cost little;
  // small enough for a cache.
  static constexpr int64_t kStretchCells = int64_t{1} << 21;
  static constexpr int64_t kStretchElements = kStretchCells / Codec::kWidthBits;

  LoadWork(const Load& load, const Value* in, Value* out) : load_(load), in_(in), out_(out) {
    stretches_ = (load.shape.sample_size() + kStretchElements - 1) / kStretchElements;
  }

  // Pieces are ordered so that neighbours share a stretch, whose flips are then found once.
  int64_t pieces() const { return stretches_ * load_.shape.batch; }
  int64_t elements_per_piece() const {
    return std::min(kStretchElements, std::max<int64_t>(load_.shape.sample_size(), 1));
  }

  void run(int64_t first_piece, int64_t last_piece) const {
    Stretch stretch;
    std::vector<Word> words;
    int64_t found = -1;
    for (int64_t piece = first_piece; piece < last_piece; ++piece) {
      const int64_t which = piece / load_.shape.batch, sample = piece % load_.shape.batch;
      const int64_t begin = which * kStretchElements;
      const int64_t end = std::min(begin + kStretchElements, load_.shape.sample_size());
      if (which != found) {
        stretch.find(load_, cell_of(begin), cell_of(end));
        found = which;
      }
      if constexpr (Codec::kIdentity) {
        pass_as_is(stretch, sample, begin, end);
      } else {
        pass_quantized(stretch, words, sample, begin, end);
      }
    }
  }

 private:
  uint64_t cell_of(int64_t element) const {
    return load_.region.address + static_cast<uint64_t>(element) * Codec::kWidthBits;
  }

  // Calls visit(first index in the tensor, first index in the sample, length) for each contiguous
  // run of the elements.
  template <class Visit>
  void for_each_run(int64_t sample, int64_t begin, int64_t end, Visit&& visit) const {
    const LoadShape& shape = load_.shape;
    if (shape.outer == 1) return visit(shape.tensor_index(sample, begin), begin, end - begin);
    for (int64_t at = begin; at < end;) {
      const int64_t length = std::min(end - at, shape.inner - at % shape.inner);
      visit(shape.tensor_index(sample, at), at, length);
      at += length;
    }
  }

  void pass_as_is(Stretch& stretch, int64_t sample, int64_t begin, int64_t end) const {
    const LoadShape& shape = load_.shape;
    if (in_ != out_) {
      for_each_run(sample, begin, end, [&](int64_t at, int64_t, int64_t length) {
        std::memcpy(out_ + at, in_ + at, static_cast<size_t>(length) * sizeof(Value));
      });
    }
    Word* words = reinterpret_cast<Word*>(out_);
    if (shape.outer == 1) {
      Word* base = words + shape.tensor_index(sample, begin);
      stretch.apply(base, end - begin, [](int64_t i) { return i; });
    } else {
      stretch.apply(words, end - begin,
                    [&](int64_t i) { return shape.tensor_index(sample, begin + i); });
    }
    if constexpr (Codec::kWidthBits == 32) {
      if (load_.region.correction == Correction::kNone) return;
      for_each_run(sample, begin, end, [&](int64_t at, int64_t, int64_t length) {
        correct_run(out_ + at, out_ + at, length);
      });
    }
  }

  void pass_quantized(Stretch& stretch, std::vector<Word>& words, int64_t sample, int64_t begin,
                      int64_t end) const {
    words.resize(static_cast<size_t>(end - begin));
    const float scale = load_.scale;
    for_each_run(sample, begin, end, [&](int64_t at, int64_t index, int64_t length) {
      const Value* in = in_ + at;
      Word* codes = words.data() + (index - begin);
      for (int64_t i = 0; i < length; ++i) codes[i] = Codec::encode(in[i], scale);
    });
    stretch.apply(words.data(), end - begin, [](int64_t i) { return i; });
    for_each_run(sample, begin, end, [&](int64_t at, int64_t index, int64_t length) {
      const Word* codes = words.data() + (index - begin);
      Value* out = out_ + at;
      for (int64_t i = 0; i < length; ++i) out[i] = Codec::decode(codes[i], scale);
      if (load_.region.correction != Correction::kNone) correct_run(out, out, length);
    });
  }

  template <class T>
  void correct_run(const T* in, T* out, int64_t length) const {
    const Correction correction = load_.region.correction;
    const float low = load_.low, high = load_.high;
    if (correction == Correction::kZero) {
      for (int64_t i = 0; i < length; ++i) out[i] = correct(in[i], Correction::kZero, low, high);
    } else {
      for (int64_t i = 0; i < length; ++i) out[i] = correct(in[i], Correction::kClamp, low, high);
    }
  }

  Load load_;
  const Value* in_;
  Value* out_;
  int64_t stretches_ = 0;
};

}  // namespace eden
