// eden's own CSV of single flips, and that of DRAM Bender's retention test on HBM: a line per cell
// that failed in a pass.
#include "core/measurements/csv_parser.h"

namespace eden::measurements {
namespace {

// Where a flip of a row is that has its column and the bit within it apart.
std::optional<uint32_t> bit_in_row(uint64_t column, uint64_t bit, uint32_t column_bits) {
  if (bit >= column_bits || column > kMostRowBits / column_bits) return std::nullopt;
  return static_cast<uint32_t>(column * column_bits + bit);
}

std::string outside(uint64_t bank, uint64_t row, uint64_t bit) {
  return "bank " + std::to_string(bank) + ", row " + std::to_string(row) + ", bit " +
         std::to_string(bit);
}
constexpr const char* kInside = "a cell of the banks, rows and row_bits that were tested";

class FlipsCsv : public ConditionCsvParser {
 public:
  FlipsCsv(const Settings& settings, Output& output)
      : ConditionCsvParser(
            {{"bank", true}, {"row", true}, {"bit", true}, {"column", false}, {"repeat", false}},
            settings, output) {}

 private:
  static constexpr int kBank = kOwnColumns, kRow = kOwnColumns + 1, kBit = kOwnColumns + 2,
                       kColumn = kOwnColumns + 3, kRepeat = kOwnColumns + 4;

  void row(uint64_t line) override {
    if (has(kColumn) && settings_.column_bits == 0) {
      throw FormatError(
          "line 1: found the columns column and bit; allowed is bit alone, or column_bits as an "
          "argument, the bits of a column");
    }
    const auto bank = number(line, kBank, 0, kMostBanks - 1);
    if (!bank) return;
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return;
    auto bit = number(line, kBit, 0, kMostRowBits - 1);
    if (!bit) return;
    if (has(kColumn)) {
      const auto column = number(line, kColumn, 0, kMostRowBits - 1);
      if (!column) return;
      const auto place = bit_in_row(*column, *bit, settings_.column_bits);
      if (!place) {
        damaged(line, kBit, "below column_bits, and a row of up to 2^24 bits");
        return;
      }
      bit = *place;
    }
    uint64_t repeat = 0;
    if (!field(kRepeat).empty()) {
      const auto stated = number(line, kRepeat, 0, kMostRepeats - 1);
      if (!stated) return;
      repeat = *stated;
    }
    if (!of_module(kModuleColumn, kVendorColumn)) return;
    if (!read_condition(line)) return;
    Statistics& statistics = output_.statistics;
    Stored stored = statistics.condition_of(condition_)
                        .pattern.stored(static_cast<uint32_t>(*row), static_cast<uint32_t>(*bit));
    if (stored == kUnknown) {
      stored = stored_;
    } else if (stored_ != kUnknown && stored_ != stored) {
      damaged(line, kStoredColumn, "the value that the pattern stores in this cell");
      return;
    }
    if (!statistics.flip(condition_, static_cast<uint32_t>(repeat), static_cast<uint32_t>(*bank),
                         static_cast<uint32_t>(*row), static_cast<uint32_t>(*bit), stored)) {
      output_.log.damaged(line, outside(*bank, *row, *bit), kInside);
    }
  }
};

class HbmCsv : public CsvParser {
 public:
  HbmCsv(const Settings& settings, Output& output)
      : CsvParser({{"channel", true},
                   {"pseudo_channel", true},
                   {"bank", true},
                   {"row", true},
                   {"column", true},
                   {"bit", true},
                   {"retention_time_in_ms", true},
                   {"data_pattern", true}},
                  settings, output),
        column_bits_(settings.column_bits == 0 ? 256 : settings.column_bits) {}

 private:
  enum { kChannel, kPseudoChannel, kBank, kRow, kColumn, kBit, kRetention, kPattern };

  void row(uint64_t line) override {
    const auto channel = number(line, kChannel, 0, 1023);
    if (!channel) return;
    const auto pseudo_channel = number(line, kPseudoChannel, 0, 1);
    if (!pseudo_channel) return;
    const auto bank = number(line, kBank, 0, 15);
    if (!bank) return;
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return;
    const auto column = number(line, kColumn, 0, kMostRowBits - 1);
    if (!column) return;
    const auto bit_in_column = number(line, kBit, 0, column_bits_ - 1);
    if (!bit_in_column) return;
    const auto bit = bit_in_row(*column, *bit_in_column, column_bits_);
    if (!bit) {
      damaged(line, kColumn, "a column of a row of up to 2^24 bits");
      return;
    }
    if (condition_ < 0 || field(kRetention) != retention_ || field(kPattern) != pattern_) {
      condition_ = -1;
      Condition condition = settings_.at;
      const Range& range = kConditionRanges[kRefreshInterval];
      const auto retention = real(line, kRetention, range.low, range.high);
      if (!retention) return;
      condition.field[kRefreshInterval] = *retention;
      // The tool prints the byte as a decimal number.
      const auto decimal = whole_number<uint64_t>(field(kPattern));
      const auto pattern = decimal && *decimal < 256
                               ? Pattern::of_byte(static_cast<uint8_t>(*decimal))
                               : Pattern::parse(field(kPattern)).value_or(Pattern());
      if (!pattern.known()) {
        damaged(line, kPattern, "a byte from 0 to 255 or 0x00 to 0xff");
        return;
      }
      condition.pattern = pattern;
      condition_ = output_.statistics.condition(condition);
      retention_ = field(kRetention);
      pattern_ = field(kPattern);
    }
    Statistics& statistics = output_.statistics;
    const auto flat_bank = static_cast<uint32_t>((*channel * 2 + *pseudo_channel) * 16 + *bank);
    const auto row_number = static_cast<uint32_t>(*row);
    if (!statistics.flip(condition_, 0, flat_bank, row_number, *bit,
                         statistics.condition_of(condition_).pattern.stored(row_number, *bit))) {
      output_.log.damaged(line, outside(flat_bank, *row, *bit), kInside);
    }
  }

  const uint32_t column_bits_;
  int condition_ = -1;
  std::string retention_, pattern_;
};

}  // namespace

std::unique_ptr<Parser> make_flips_csv(const Settings& settings, Output& output) {
  return std::make_unique<FlipsCsv>(settings, output);
}

std::unique_ptr<Parser> make_hbm_csv(const Settings& settings, Output& output) {
  return std::make_unique<HbmCsv>(settings, output);
}

bool is_flips_csv(std::string_view head) {
  return has_columns(head, {"bank", "row", "bit"}) && !is_hbm_csv(head);
}

bool is_hbm_csv(std::string_view head) {
  return has_columns(head, {"channel", "pseudo_channel", "bank", "retention_time_in_ms"});
}

}  // namespace eden::measurements
