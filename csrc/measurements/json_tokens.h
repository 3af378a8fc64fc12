// The tokens of JSON text that arrives in pieces. It checks the grammar, keeps no values, and
// nests no deeper than kDeepest.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace eden::measurements {

class JsonError : public std::runtime_error {
 public:
  JsonError(std::string found, const char* allowed)
      : std::runtime_error("no JSON"), found(std::move(found)), allowed(allowed) {}
  std::string found;
  const char* allowed;
};

class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  virtual void begin(char bracket) = 0;  // '{' or '['
  virtual void end(char bracket) = 0;    // likewise
  // Its text as it stands in the file, between the quotes.
  virtual void key(std::string_view text) = 0;
  virtual void string(std::string_view text) = 0;
  // A number, or true, false, null, NaN, Infinity.
  virtual void scalar(std::string_view text) = 0;
};

class JsonTokens {
 public:
  static constexpr size_t kDeepest = 64;
  static constexpr size_t kLongestToken = 4096;

  explicit JsonTokens(JsonHandler& handler) : handler_(handler) {}

  // Reads up to the end of one value; returns the number of bytes that it took. Throws JsonError,
  // with taken() bytes of this call before the one that is wrong.
  size_t feed(std::string_view bytes);
  bool done() const { return state_ == State::kDone; }
  size_t taken() const { return taken_; }
  // Line ends met so far.
  uint64_t line_ends() const { return line_ends_; }
  void restart();

 private:
  enum class State : uint8_t {
    kValue,       // a value
    kFirstValue,  // a value or the end of an array
    kFirstKey,    // a key or the end of an object
    kKey,
    kColon,
    kNext,  // a comma or the end
    kString,
    kEscape,
    kScalar,
    kDone,
  };

  void after_value();
  void open(char bracket);
  void close(char bracket);
  void finish_scalar();

  JsonHandler& handler_;
  State state_ = State::kValue;
  bool key_ = false;  // the string being read is one
  std::string token_;
  std::vector<char> nesting_;
  size_t taken_ = 0;
  uint64_t line_ends_ = 0;
};

}  // namespace eden::measurements
