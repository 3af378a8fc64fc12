#include "tolerance/trial.h"

#include <unordered_map>

#include "base/random_layout.h"
#include "base/refusal.h"

namespace eden {
namespace {

constexpr uint32_t kDrawIndex = 1;  // detail of stream kSearch; index: position in the draw

}  // namespace

const char* to_string(SearchPhase phase) {
  constexpr const char* kNames[] = {"coarse", "coarse confirmation", "operand", "joint",
                                    "confirmation"};
  return kNames[static_cast<size_t>(phase)];
}

const char* to_string(SearchState state) {
  constexpr const char* kNames[] = {"running", "done", "unreachable", "failed"};
  return kNames[static_cast<size_t>(state)];
}

std::vector<int64_t> draw_samples(uint64_t draw_seed, int64_t population, int64_t count) {
  if (count < 1 || count > population) {
    refuse_value("count", count, "1 to the population (", population, ")");
  }
  // Only what has moved is held, so that a small draw from a large set is cheap.
  std::unordered_map<int64_t, int64_t> moved;
  const auto at = [&moved](int64_t index) {
    const auto found = moved.find(index);
    return found == moved.end() ? index : found->second;
  };
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words =
        draw(draw_seed, Stream::kSearch, kDrawIndex, static_cast<uint64_t>(i), 0);
    const uint64_t bits =
        static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
    // floor(bits * left / 2^64), in halves because there is no portable 128-bit integer.
    const uint64_t left = static_cast<uint64_t>(population - i);
    const uint64_t low = (bits & 0xffffffffu) * (left & 0xffffffffu);
    const uint64_t cross1 = (bits >> 32) * (left & 0xffffffffu) + (low >> 32);
    const uint64_t cross2 = (bits & 0xffffffffu) * (left >> 32) + (cross1 & 0xffffffffu);
    const uint64_t high = (bits >> 32) * (left >> 32) + (cross1 >> 32) + (cross2 >> 32);
    const int64_t other = i + static_cast<int64_t>(high);
    drawn[static_cast<size_t>(i)] = at(other);
    moved[other] = at(i);
  }
  return drawn;
}

}  // namespace eden
