// The file of DRAM Bender's retention test: each byte read XOR the pattern, row after row and bank
// after bank, without a header. The test as published prints the bytes as decimal numbers of a
// signed type, of three digits each, which is read as well.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/refusal.h"
#include "measurements/parser.h"

namespace eden::measurements {
namespace {

// As much text is looked at to tell it from bytes.
constexpr size_t kTextSample = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether bytes are numbers from -256 to 255 of three digits without anything between them.
bool is_text(std::string_view bytes) {
  // The same bytes whatever the pieces that they come in.
  bytes = bytes.substr(0, kTextSample);
  size_t numbers = 0;
  for (size_t i = 0; i < bytes.size();) {
    if (bytes[i] == '-') ++i;
    if (i + 3 > bytes.size()) return numbers > 0;
    for (size_t d = 0; d < 3; ++d) {
      if (!is_digit(bytes[i + d])) return false;
    }
    i += 3;
    ++numbers;
  }
  return numbers > 0;
}

class Retention : public Parser {
 public:
  Retention(const Settings& settings, Output& output) : output_(output), tested_(settings.tested) {
    if (!tested_.known()) {
      refuse(
          "banks, rows and row_bits are missing; dram-bender-retention needs them, because the "
          "file has no header");
    }
    if (tested_.row_bits % 8 != 0) {
      refuse("row_bits is ", tested_.row_bits,
             "; allowed for dram-bender-retention are multiples of 8");
    }
    row_bytes_ = tested_.row_bits / 8;
    row_ = tested_.row_begin;
    condition_ = output_.statistics.condition(settings.at);
  }

  const char* unit() const override { return "byte"; }

  void feed(std::string_view bytes) override {
    if (mode_ == Mode::kNotKnown) {
      head_.append(bytes);
      if (head_.size() < kTextSample) return;
      begin();
      return;
    }
    take(bytes);
  }

  void finish() override {
    if (mode_ == Mode::kNotKnown) begin();
    const std::string where = place_text("byte", place_) + ": ";
    if (place_ == 0) refuse<FormatError>("the file is empty; allowed is one pass or more");
    if (digits_ > 0 || minus_) {
      refuse<FormatError>(where, "the file ends inside a number; it is truncated");
    }
    if (bank_ != 0 || row_ != tested_.row_begin || byte_ != 0) {
      refuse<FormatError>(where, "the file ends in pass ", repeat_, ", bank ", tested_.banks[bank_],
                          ", row ", row_, ", byte ", byte_,
                          "; allowed are whole passes over the banks and rows given (it is "
                          "truncated, or the geometry is another)");
    }
    output_.log.note("read " + std::to_string(repeat_) + " passes" +
                     (mode_ == Mode::kText ? ", printed as decimal numbers" : ""));
  }

 private:
  enum class Mode { kNotKnown, kBytes, kText };

  void begin() {
    mode_ = is_text(head_) && head_.size() >= 3 ? Mode::kText : Mode::kBytes;
    std::string head;
    head.swap(head_);
    take(head);
  }

  void take(std::string_view bytes) {
    if (mode_ == Mode::kBytes) {
      place_ += bytes.size();
      take_bytes(bytes);
      return;
    }
    char decoded[4096];
    size_t size = 0;
    for (const char c : bytes) {
      if (c == '-' && !minus_ && digits_ == 0) {
        minus_ = true;
      } else if (is_digit(c)) {
        number_ = 10 * number_ + (c - '0');
        if (++digits_ == 3) {
          if (number_ > (minus_ ? 256 : 255)) fail(c);
          decoded[size++] = static_cast<char>(minus_ ? -number_ : number_);
          minus_ = false;
          number_ = digits_ = 0;
        }
      } else {
        fail(c);
      }
      ++place_;
      if (size == sizeof(decoded)) {
        take_bytes({decoded, size});
        size = 0;
      }
    }
    take_bytes({decoded, size});
  }

  [[noreturn]] void fail(char c) const {
    refuse<FormatError>(place_text("byte", place_), ": found '", printable({&c, 1}),
                        "'; allowed are numbers from -256 to 255 of three digits, as the file "
                        "begins");
  }

  void take_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      if (byte_ == 0 && row_ == tested_.row_begin && bank_ == 0) {
        if (repeat_ == kMostRepeats) {
          refuse<FormatError>("found more than ", kMostRepeats,
                              " passes; allowed are fewer (is the geometry another?)");
        }
        output_.statistics.pass(condition_, repeat_);
      }
      const size_t size = std::min<size_t>(bytes.size(), row_bytes_ - byte_);
      count(bytes.substr(0, size));
      bytes.remove_prefix(size);
      byte_ += static_cast<uint32_t>(size);
      if (byte_ < row_bytes_) continue;
      byte_ = 0;
      output_.log.record();
      if (++row_ < tested_.row_end) continue;
      row_ = tested_.row_begin;
      if (++bank_ < tested_.banks.size()) continue;
      bank_ = 0;
      ++repeat_;
    }
  }

  // Bytes of the current row from byte_ on.
  void count(std::string_view bytes) {
    constexpr size_t kBlock = 8;  // words
    size_t i = 0;
    // Most words are 0: many are looked at together.
    for (; i + kBlock * sizeof(uint64_t) <= bytes.size(); i += kBlock * sizeof(uint64_t)) {
      uint64_t words[kBlock], any = 0;
      std::memcpy(words, bytes.data() + i, sizeof(words));
      for (const uint64_t word : words) any |= word;
      if (any == 0) continue;
      for (size_t w = 0; w < kBlock; ++w) take_word(words[w], (byte_ + i) * 8 + w * 64);
    }
    for (; i < bytes.size(); ++i) {
      take_word(static_cast<uint8_t>(bytes[i]), (byte_ + i) * 8);
    }
    if (bits_.empty()) return;
    output_.statistics.flips_of_pattern(condition_, repeat_, tested_.banks[bank_], row_, bits_);
    bits_.clear();
  }

  void take_word(uint64_t word, size_t first_bit) {
    for (; word != 0; word &= word - 1) {
      bits_.push_back(static_cast<uint32_t>(first_bit) +
                      static_cast<uint32_t>(std::countr_zero(word)));
    }
  }

  Output& output_;
  const Tested& tested_;
  std::vector<uint32_t> bits_;  // that failed in the current row
  int condition_ = -1;
  uint32_t row_bytes_ = 0;
  uint32_t repeat_ = 0, bank_ = 0, row_ = 0, byte_ = 0;  // the next byte's, bank_ as an index
  uint64_t place_ = 0;
  Mode mode_ = Mode::kNotKnown;
  std::string head_;
  bool minus_ = false;
  int number_ = 0, digits_ = 0;
};

// Bytes tell nothing; the decimal numbers do, where they are of cells that did not fail too.
bool is_retention_text(std::string_view head) {
  return head.size() >= kTextSample && is_text(head) &&
         head.substr(0, kTextSample).find('-') != std::string_view::npos;
}

}  // namespace

const Format kRetentionFormat{"dram-bender-retention",
                              "records",
                              {"at", "pattern", "banks", "rows", "row_bits", "subarray_rows"},
                              is_retention_text,
                              make<Retention>,
                              Content::kCells,
                              true};

}  // namespace eden::measurements
