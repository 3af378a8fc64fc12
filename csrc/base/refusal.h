// The one file that throws for what a caller or a file got wrong. A message says what was found
// and what is allowed: "name is 2e-09; allowed is 0 to 1".
#pragma once

#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace eden {

// The content of a file cannot be used; the message names the place in it.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A file cannot be read, written or used; the message begins with its path.
class FileError : public std::runtime_error {
 public:
  FileError(const std::string& path, const std::string& problem)
      : std::runtime_error(path + ": " + problem) {}
};

// A number in the fewest digits that read back as it.
std::string digits_of(double number);
std::string digits_of(float number);
std::string digits_of(std::integral auto number) { return std::to_string(number); }
inline std::string_view digits_of(std::string_view text) { return text; }
inline std::string digits_of(char character) { return {character}; }

// A whole number with commas between its thousands.
std::string grouped(int64_t number);

// Words and numbers, one after the other.
template <class... Part>
std::string text_of(const Part&... parts) {
  std::string text;
  (text.append(digits_of(parts)), ...);
  return text;
}

// Throws std::invalid_argument, or another error that a message makes.
template <class Error = std::invalid_argument, class... Part>
[[noreturn]] void refuse(const Part&... parts) {
  throw Error(text_of(parts...));
}

// "name is found; allowed is ..."
template <class Error = std::invalid_argument, class Found, class... Part>
[[noreturn]] void refuse_value(std::string_view name, const Found& found, const Part&... allowed) {
  refuse<Error>(name, " is ", found, "; allowed is ", allowed...);
}

template <class... Part>
[[noreturn]] void refuse_file(const std::string& path, const Part&... problem) {
  throw FileError(path, text_of(problem...));
}

}  // namespace eden
