#include "base/refusal.h"

#include <array>
#include <charconv>
#include <cmath>

namespace eden {
namespace {

template <class Number>
std::string shortest(Number number) {
  // Without a format, 100000 would be 1e+05.
  const Number size = std::abs(number);
  const bool plain = number == 0 || (size >= Number(1e-4) && size < Number(1e16));
  std::array<char, 64> digits;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), number,
                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  return {digits.data(), end};
}

}  // namespace

std::string digits_of(double number) { return shortest(number); }
std::string digits_of(float number) { return shortest(number); }

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

}  // namespace eden
