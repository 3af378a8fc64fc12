// The dense part of weak cells, and which reads fail: the binary digits of the uniform numbers of
// 32 cells are compared with those of a probability, until every cell is decided.
#pragma once

#include "memory/corrupt/simd/random_lanes.h"
#include "memory/region.h"
#include "memory/weak_cells.h"

namespace eden::simd::EDEN_ISA {
namespace {

// A comparison of uniform numbers with a probability, four binary digits at a time.
class Digits {
 public:
  EDEN_INLINE explicit Digits(uint64_t probability) {
    for (int i = 0; i < kFractionDigits; ++i) {
      digit_[i] = 0u - static_cast<uint32_t>((probability << i) >> (kFractionDigits - 1));
    }
  }

  // By the digits of draw `which`: the bits that are less, of those that were open.
  EDEN_INLINE Words compare(const Words (&digits)[4], uint32_t which, Words& open) const {
    Words is_less = broadcast(0), equal = open;
    EDEN_UNROLL(4)
    for (int i = kDigitsInDraw - 1; i >= 0; --i) {
      const Words wanted = broadcast(digit_[kDigitsInDraw * which + static_cast<uint32_t>(i)]);
      is_less = digit_less(is_less, digits[i], wanted);
      equal = digit_equal(equal, digits[i], wanted);
    }
    is_less = is_less & open;
    open = equal;
    return is_less;
  }

 private:
  alignas(64) uint32_t digit_[kFractionDigits];  // all bits of each alike
};

constexpr uint32_t kDraws = kFractionDigits / kDigitsInDraw;
// So many leave few groups open.
constexpr uint32_t kUnconditional = 2;

// Groups of which some cells are still open.
struct OpenGroups {
  static constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t index[kRoom];
  alignas(64) uint32_t always[kRoom];
  alignas(64) uint32_t strong[kRoom];
  size_t size = 0;

  template <bool kTwo>
  EDEN_INLINE void append(Words at_index, Words open_always, Words open_strong, Mask valid) {
    const Words open = kTwo ? open_always | open_strong : open_always;
    const Mask mask = both(valid, common_bits(open, open));
    compress(always + size, mask, open_always);
    if (kTwo) compress(strong + size, mask, open_strong);
    size += compress(index + size, mask, at_index);
  }
};

// Joins the bits of lanes [at, end) of a list.
EDEN_LANES void join(uint32_t* words, const uint32_t* index, Words bits, size_t at, size_t end) {
  alignas(64) uint32_t lanes[kLanes];
  store(lanes, bits);
  const size_t count = end - at < kLanes ? end - at : kLanes;
  EDEN_UNROLL(1)
  for (size_t i = 0; i < count; ++i) words[index[i]] |= lanes[i];
}

// Draws until no group is open, from draw `which` on. third(which) and fourth(which) are the last
// words of the counter, whose first is first + the group's index.
template <bool kTwo, class Counters>
EDEN_LANES void settle(const Keys& keys, OpenGroups& groups, uint64_t first, uint32_t which,
                       const Digits& always, const Digits& strong, uint32_t* always_words,
                       uint32_t* strong_words, Counters&& counters) {
  for (; groups.size != 0 && which < kDraws; ++which) {
    const size_t size = groups.size;
    groups.size = 0;
    for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
      Words at_index[sets.kNumber], counter[sets.kNumber];
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        at_index[set] = load(groups.index + at + set * kLanes);
        counter[set] = at_index[set] + low_half(first);
      }
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high_half(first), counters.third(which), counters.fourth(which),
                 numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const size_t lane = at + set * kLanes;
        alignas(64) uint32_t index[kLanes];
        store(index, at_index[set]);
        Words open_always = load(groups.always + lane), open_strong = broadcast(0);
        const Words found = always.compare(numbers.word[set], which, open_always);
        join(always_words, index, found, lane, size);
        if (kTwo) {
          open_strong = load(groups.strong + lane);
          const Words strong_found = strong.compare(numbers.word[set], which, open_strong);
          join(strong_words, index, strong_found, lane, size);
        }
        groups.append<kTwo>(at_index[set], open_always, open_strong, lanes_before(lane, size));
      }
    });
  }
  groups.size = 0;
}

struct DenseCounters {
  EDEN_INLINE uint32_t third(uint32_t which) const { return which; }
  EDEN_INLINE uint32_t fourth(uint32_t) const { return counter_word(Stream::kDenseMark, 0); }
};

struct FailureCounters {
  uint64_t access;
  EDEN_INLINE uint32_t third(uint32_t) const { return low_half(access); }
  EDEN_INLINE uint32_t fourth(uint32_t which) const {
    return counter_word(Stream::kFailure, failure_detail(access, which));
  }
};

// What a probability of 0 or 1 makes of its digits.
struct Extremes {
  uint32_t wanted, fixed;
  EDEN_INLINE Extremes(uint64_t probability)
      : wanted(probability == 0 || probability == kAlways ? 0 : ~0u),
        fixed(probability == kAlways ? ~0u : 0) {}
};

// Groups whose numbers agree in their high half, at most kBatch of them, into arrays with room for
// whole sets of lanes.
template <bool kTwo>
EDEN_LANES void find_groups(const Keys& keys, uint64_t first, size_t count,
                            uint64_t always_probability, uint64_t strong_probability,
                            OpenGroups& open, uint32_t* always, uint32_t* strong) {
  const Digits always_digits(always_probability), strong_digits(strong_probability);
  const Extremes always_extremes(always_probability), strong_extremes(strong_probability);
  const DenseCounters counters;
  for_each_step(count, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
    Words index[sets.kNumber], counter[sets.kNumber];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      index[set] = lane_numbers() + static_cast<uint32_t>(at + set * kLanes);
      counter[set] = index[set] + low_half(first);
    }
    Words found_always[sets.kNumber], found_strong[sets.kNumber];
    Words open_always[sets.kNumber], open_strong[sets.kNumber];
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      found_always[set] = broadcast(always_extremes.fixed);
      open_always[set] = broadcast(always_extremes.wanted);
      found_strong[set] = broadcast(strong_extremes.fixed);
      open_strong[set] = broadcast(strong_extremes.wanted);
    }
    // One after the other: more than two sets of lanes at a time do not fit in the registers.
    EDEN_UNROLL(1)
    for (uint32_t which = 0; which < kUnconditional; ++which) {
      Numbers<sets.kNumber> numbers;
      draw_lanes(keys, counter, high_half(first), counters.third(which), counters.fourth(which),
                 numbers);
      EDEN_UNROLL(2)
      for (size_t set = 0; set < sets.kNumber; ++set) {
        const Words(&digits)[4] = numbers.word[set];
        found_always[set] =
            found_always[set] | always_digits.compare(digits, which, open_always[set]);
        if (kTwo) {
          found_strong[set] =
              found_strong[set] | strong_digits.compare(digits, which, open_strong[set]);
        }
      }
    }
    EDEN_UNROLL(2)
    for (size_t set = 0; set < sets.kNumber; ++set) {
      const size_t lane = at + set * kLanes;
      store(always + lane, found_always[set]);
      if (kTwo) store(strong + lane, found_strong[set]);
      open.append<kTwo>(index[set], open_always[set], open_strong[set], lanes_before(lane, count));
    }
  });
  settle<kTwo>(keys, open, first, kUnconditional, always_digits, strong_digits, always, strong,
               counters);
}

// Leaves of the weak cells those that fail.
template <bool kTwo>
EDEN_LANES void keep_failing_groups(const Keys& keys, uint64_t first, size_t count, uint64_t access,
                                    uint64_t failure, OpenGroups& open, uint32_t* always,
                                    uint32_t* strong, uint32_t* fails) {
  const Extremes extremes(failure);
  for (size_t at = 0; at < count; at += kLanes) {
    Words weak = load(always + at);
    if (kTwo) weak = weak | load(strong + at);
    store(fails + at, broadcast(extremes.fixed));
    open.append<false>(lane_numbers() + static_cast<uint32_t>(at), weak & extremes.wanted, weak,
                       lanes_before(at, count));
  }
  settle<false>(keys, open, first, 0, Digits(failure), Digits(0), fails, nullptr,
                FailureCounters{access});
  for (size_t at = 0; at < count; at += kLanes) {
    const Words kept = load(fails + at);
    store(always + at, load(always + at) & kept);
    if (kTwo) store(strong + at, load(strong + at) & kept);
  }
}

template <bool kTwo>
EDEN_LANES void find_dense_query(const Keys& keys, uint64_t access, uint64_t failure,
                                 const DenseQuery& query, uint32_t* always, uint32_t* strong) {
  constexpr size_t kRoom = kBatch + kLanes;
  alignas(64) uint32_t always_words[kRoom], strong_words[kTwo ? kRoom : 1], fails[kRoom];
  OpenGroups open;
  for (size_t at = 0; at < query.groups;) {
    const uint64_t first = query.first_group + at;
    size_t count = query.groups - at;
    if (count > kBatch) count = kBatch;
    const uint64_t same_high = (uint64_t{1} << 32) - low_half(first);
    if (count > same_high) count = static_cast<size_t>(same_high);
    find_groups<kTwo>(keys, first, count, query.always, query.strong, open, always_words,
                      strong_words);
    if (failure != kAlways) {
      keep_failing_groups<kTwo>(keys, first, count, access, failure, open, always_words,
                                strong_words, fails);
    }
    __builtin_memcpy(always + query.place + at, always_words, count * sizeof(uint32_t));
    if (strong != nullptr) {
      __builtin_memcpy(strong + query.place + at, kTwo ? strong_words : always_words,
                       count * sizeof(uint32_t));
    }
    at += count;
  }
}

void find_dense(uint64_t chip, uint64_t access, uint64_t failure, const DenseQuery* queries,
                size_t count, uint32_t* always, uint32_t* strong) {
  const Keys keys = make_keys(chip);
  for (size_t i = 0; i < count; ++i) {
    if (strong == nullptr || queries[i].always == queries[i].strong) {
      find_dense_query<false>(keys, access, failure, queries[i], always, strong);
    } else {
      find_dense_query<true>(keys, access, failure, queries[i], always, strong);
    }
  }
}

void keep_failing(uint64_t chip, const Rows& rows, uint64_t access, uint64_t failure,
                  FoundCells& found) {
  if (failure == kAlways) return;
  if (failure == 0) {
    found.size = 0;
    return;
  }
  constexpr uint32_t kLargestOffset = 0x7fffffffu;
  const uint64_t first_group = rows.origin >> kGroupBits;
  if (((rows.origin + kLargestOffset) >> kGroupBits) >> 32 != first_group >> 32) {
    return keep_failing_one_by_one(chip, rows, access, failure, found);
  }
  const Keys keys = make_keys(chip);
  const Digits digits(failure);
  const FailureCounters counters{access};
  const Words lead = broadcast(low_half(rows.origin) & (kGroupCells - 1));
  const Words row_shift = broadcast(static_cast<uint32_t>(rows.row_shift));
  // From row to row places go on by less than cells do.
  const uint32_t skipped = low_half(rows.stride) - (1u << rows.row_shift);
  const Words place_in_group = broadcast(kGroupCells - 1);
  constexpr size_t kRoom = kBatch + kStep;
  alignas(64) uint32_t open[kRoom], kept[kRoom];
  size_t total = 0;
  for (size_t begin = 0; begin < found.size; begin += kBatch) {
    const size_t end = found.size - begin < kBatch ? found.size : begin + kBatch;
    size_t left = end - begin, size_kept = 0;
    __builtin_memcpy(open, found.cell + begin, left * sizeof(uint32_t));
    for (uint32_t which = 0; left != 0 && which < kDraws; ++which) {
      const size_t size = left;
      left = 0;
      for_each_step(size, [&](auto sets, size_t at) EDEN_INLINE_LAMBDA {
        Words entry[sets.kNumber], cell[sets.kNumber], group[sets.kNumber];
        EDEN_UNROLL(2)
        for (size_t set = 0; set < sets.kNumber; ++set) {
          entry[set] = load(open + at + set * kLanes);
          const Words place = entry[set] >> 1;
          cell[set] = place + (place >> row_shift) * skipped + lead;
          group[set] = (cell[set] >> kGroupBits) + low_half(first_group);
        }
        Numbers<sets.kNumber> numbers;
        draw_lanes(keys, group, high_half(first_group), counters.third(which),
                   counters.fourth(which), numbers);
        EDEN_UNROLL(2)
        for (size_t set = 0; set < sets.kNumber; ++set) {
          const Words bit = shift_left(broadcast(1), cell[set] & place_in_group);
          Words equal = bit;
          const Words is_less = digits.compare(numbers.word[set], which, equal);
          const Mask valid = lanes_before(at + set * kLanes, size);
          left += compress(open + left, both(valid, common_bits(equal, bit)), entry[set]);
          size_kept +=
              compress(kept + size_kept, both(valid, common_bits(is_less, bit)), entry[set]);
        }
      });
    }
    __builtin_memcpy(found.cell + total, kept, size_kept * sizeof(uint32_t));
    total += size_kept;
  }
  found.size = total;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
