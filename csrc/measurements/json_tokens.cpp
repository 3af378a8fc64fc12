#include "measurements/json_tokens.h"

#include <algorithm>
#include <cstring>

#include "measurements/log.h"
#include "measurements/text.h"

namespace eden::measurements {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr std::ptrdiff_t kUsualToken = 64;

bool in_scalar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '+' || c == '.';
}

}  // namespace

void JsonTokens::restart() {
  state_ = State::kValue;
  token_.clear();
  nesting_.clear();
}

void JsonTokens::after_value() { state_ = nesting_.empty() ? State::kDone : State::kNext; }

void JsonTokens::open(char bracket) {
  if (nesting_.size() == kDeepest) throw JsonError({bracket}, "up to 64 levels");
  nesting_.push_back(bracket);
  handler_.begin(bracket);
  state_ = bracket == '{' ? State::kFirstKey : State::kFirstValue;
}

void JsonTokens::close(char bracket) {
  nesting_.pop_back();
  handler_.end(bracket);
  after_value();
}

void JsonTokens::finish_scalar() {
  static constexpr std::string_view kWords[] = {"true", "false",    "null",
                                                "NaN",  "Infinity", "-Infinity"};
  // from_chars takes hexadecimal digits of NaN and words of infinity, which start with letters.
  const char first = token_[0];
  const bool number =
      (first == '-' || (first >= '0' && first <= '9')) && token_.back() != '.' &&
      std::all_of(token_.begin(), token_.end(), [](char c) {
        return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
      });
  double value = 0.0;
  const char* const end = token_.data() + token_.size();
  const auto [stop, error] = std::from_chars(token_.data(), end, value);
  const bool whole = number && stop == end && error != std::errc::invalid_argument;
  if (!whole && std::find(std::begin(kWords), std::end(kWords), token_) == std::end(kWords)) {
    throw JsonError(printable(token_), "a value");
  }
  handler_.scalar(token_);
  token_.clear();
  after_value();
}

size_t JsonTokens::feed(std::string_view bytes) {
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  const auto fail = [&](const char* allowed) {
    taken_ = static_cast<size_t>(at - bytes.data());
    throw JsonError(printable({at, 1}), allowed);
  };
  const auto open_string = [&](bool key) {
    key_ = key;
    state_ = State::kString;
    token_.clear();
  };
  const auto run_of = [&](auto belongs) {
    const char* stop = at;
    while (stop != end && belongs(*stop)) ++stop;
    return stop;
  };
  taken_ = 0;
  for (; at != end && state_ != State::kDone; ++at) {
    const char c = *at;
    if (state_ < State::kString && is_blank(c)) {
      line_ends_ += c == '\n';
      // Most of an indented file is blanks.
      static constexpr char kBlanks[] = "        ";
      while (end - at > 8 && std::memcmp(at + 1, kBlanks, 8) == 0) at += 8;
      continue;
    }
    taken_ = static_cast<size_t>(at - bytes.data());
    // Digits alone, and strings without an escape, are whole where they stand.
    if (state_ <= State::kFirstValue && is_digit(c)) {
      const char* const stop = run_of(is_digit);
      if (stop != end && stop - at <= kUsualToken && !in_scalar(*stop)) {
        taken_ = static_cast<size_t>(stop - bytes.data());
        handler_.scalar({at, stop});
        after_value();
        at = stop - 1;
        continue;
      }
    } else if (state_ <= State::kKey && c == '"') {
      ++at;
      const char* const stop = run_of(
          [](char s) { return s != '"' && s != '\\' && static_cast<unsigned char>(s) >= 0x20; });
      if (stop != end && *stop == '"' && stop - at <= kUsualToken) {
        taken_ = static_cast<size_t>(stop - bytes.data());
        if (state_ == State::kFirstKey || state_ == State::kKey) {
          handler_.key({at, stop});
          state_ = State::kColon;
        } else {
          handler_.string({at, stop});
          after_value();
        }
        at = stop;
        continue;
      }
      --at;
    }
    switch (state_) {
      case State::kFirstValue:
      case State::kValue:
        if (c == '"') {
          open_string(false);
        } else if (c == '{' || c == '[') {
          open(c);
        } else if (c == ']' && state_ == State::kFirstValue) {
          close('[');
        } else if (in_scalar(c)) {
          token_.assign(1, c);
          state_ = State::kScalar;
        } else {
          fail("a value");
        }
        break;
      case State::kFirstKey:
      case State::kKey:
        if (c == '"') {
          open_string(true);
        } else if (c == '}' && state_ == State::kFirstKey) {
          close('{');
        } else {
          fail("a key");
        }
        break;
      case State::kColon:
        if (c != ':') fail("a colon");
        state_ = State::kValue;
        break;
      case State::kNext:
        if (c == ',') {
          state_ = nesting_.back() == '{' ? State::kKey : State::kValue;
        } else if (c == (nesting_.back() == '{' ? '}' : ']')) {
          close(nesting_.back());
        } else {
          fail("a comma or the end of an object or array");
        }
        break;
      case State::kString:
        if (c == '"') {
          if (key_) {
            handler_.key(token_);
            state_ = State::kColon;
          } else {
            handler_.string(token_);
            after_value();
          }
          token_.clear();
          break;
        }
        if (static_cast<unsigned char>(c) < 0x20) fail("a string that ends in its line");
        if (token_.size() == kLongestToken) fail("a string of up to 4096 bytes");
        token_ += c;
        if (c == '\\') state_ = State::kEscape;
        break;
      case State::kEscape:
        if (std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos) {
          fail("an escape of JSON");
        }
        token_ += c;
        state_ = State::kString;
        break;
      case State::kScalar:
        if (in_scalar(c)) {
          if (token_.size() == kLongestToken) fail("a number of up to 4096 digits");
          token_ += c;
          break;
        }
        finish_scalar();
        // The byte that ended it belongs to what follows.
        --at;
        break;
      case State::kDone:
        break;
    }
  }
  taken_ = static_cast<size_t>(at - bytes.data());
  return taken_;
}

}  // namespace eden::measurements
