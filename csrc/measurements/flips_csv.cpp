// eden's own CSV of single flips, and that of DRAM Bender's retention test on HBM: a line per cell
// that failed in a pass.
#include "base/refusal.h"
#include "measurements/csv_parser.h"

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
      : ConditionCsvParser({{"bank", true, true},
                            {"row", true, true},
                            {"bit", true, true},
                            {"column", false, true},
                            {"repeat", false, true}},
                           settings, output) {}

 private:
  static constexpr int kBank = kOwnColumns, kRow = kOwnColumns + 1, kBit = kOwnColumns + 2,
                       kColumn = kOwnColumns + 3, kRepeat = kOwnColumns + 4;

  bool row(uint64_t line) override {
    if (has(kColumn) && settings_.column_bits == 0) {
      refuse<FormatError>(
          "line 1: found the columns column and bit; allowed is bit alone, or column_bits as an "
          "argument, the bits of a column");
    }
    const auto bank = number(line, kBank, 0, kMostBanks - 1);
    if (!bank) return false;
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return false;
    auto bit = number(line, kBit, 0, kMostRowBits - 1);
    if (!bit) return false;
    if (has(kColumn)) {
      const auto column = number(line, kColumn, 0, kMostRowBits - 1);
      if (!column) return false;
      const auto place = bit_in_row(*column, *bit, settings_.column_bits);
      if (!place) {
        damaged(line, kBit, "below column_bits, and a row of up to 2^24 bits");
        return false;
      }
      bit = *place;
    }
    uint64_t repeat = 0;
    if (!field(kRepeat).empty()) {
      const auto stated = number(line, kRepeat, 0, kMostRepeats - 1);
      if (!stated) return false;
      repeat = *stated;
    }
    wanted_ = of_module(kModuleColumn, kVendorColumn);
    if (!wanted_) return true;
    if (!read_condition(line)) return false;
    pattern_ = &output_.statistics.condition_of(condition_).pattern;
    const std::optional<Stored> stored = stored_in(*row, *bit);
    if (!stored) {
      damaged(line, kStoredColumn, "the value that the pattern stores in this cell");
      return false;
    }
    repeat = pass_of(repeat);
    if (!count(repeat, *bank, *row, *bit, *stored)) {
      output_.log.damaged(line, outside(*bank, *row, *bit), kInside);
      return false;
    }
    return true;
  }

  bool alike(uint64_t) override {
    const uint64_t bank = digits(kBank), row = digits(kRow);
    uint64_t bit = digits(kBit), repeat = digits(kRepeat);
    if (bank >= kMostBanks || row >= kMostRows || bit >= kMostRowBits) return false;
    if (has(kColumn)) {
      if (digits(kColumn) >= kMostRowBits) return false;
      const auto place = bit_in_row(digits(kColumn), bit, settings_.column_bits);
      if (!place) return false;
      bit = *place;
    }
    if (repeat == kNoDigits) repeat = 0;
    if (repeat >= kMostRepeats) return false;
    if (wanted_) {
      const std::optional<Stored> stored = stored_in(row, bit);
      if (!stored || !count(pass_of(repeat), bank, row, bit, *stored)) return false;
    }
    same_module();
    return true;
  }

  // The value that a cell stored; nothing where the line and the pattern disagree in it.
  std::optional<Stored> stored_in(uint64_t row, uint64_t bit) const {
    const Stored stored = pattern_->stored(static_cast<uint32_t>(row), static_cast<uint32_t>(bit));
    if (stored == kUnknown) return stored_;
    if (stored_ != kUnknown && stored_ != stored) return std::nullopt;
    return stored;
  }

  bool count(uint64_t repeat, uint64_t bank, uint64_t row, uint64_t bit, Stored stored) {
    return output_.statistics.flip(condition_, static_cast<uint32_t>(repeat),
                                   static_cast<uint32_t>(bank), static_cast<uint32_t>(row),
                                   static_cast<uint32_t>(bit), stored);
  }

  bool wanted_ = true;
  const Pattern* pattern_ = nullptr;  // of condition_
};

class HbmCsv : public CsvParser {
 public:
  HbmCsv(const Settings& settings, Output& output)
      : CsvParser({{"channel", true, true},
                   {"pseudo_channel", true, true},
                   {"bank", true, true},
                   {"row", true, true},
                   {"column", true, true},
                   {"bit", true, true},
                   {"retention_time_in_ms", true},
                   {"data_pattern", true}},
                  settings, output),
        column_bits_(settings.column_bits == 0 ? 256 : settings.column_bits) {}

 private:
  enum { kChannel, kPseudoChannel, kBank, kRow, kColumn, kBit, kRetention, kPattern };

  bool row(uint64_t line) override {
    const auto channel = number(line, kChannel, 0, kChannels - 1);
    if (!channel) return false;
    const auto pseudo_channel = number(line, kPseudoChannel, 0, kPseudoChannels - 1);
    if (!pseudo_channel) return false;
    const auto bank = number(line, kBank, 0, kBanks - 1);
    if (!bank) return false;
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return false;
    const auto column = number(line, kColumn, 0, kMostRowBits - 1);
    if (!column) return false;
    const auto bit_in_column = number(line, kBit, 0, column_bits_ - 1);
    if (!bit_in_column) return false;
    const auto bit = bit_in_row(*column, *bit_in_column, column_bits_);
    if (!bit) {
      damaged(line, kColumn, "a column of a row of up to 2^24 bits");
      return false;
    }
    if (condition_ < 0 || field(kRetention) != retention_ || field(kPattern) != pattern_) {
      condition_ = -1;
      Condition condition = settings_.at;
      const Range& range = kConditionRanges[kRefreshInterval];
      const auto retention = real(line, kRetention, range.low, range.high);
      if (!retention) return false;
      condition.field[kRefreshInterval] = *retention;
      // The tool prints the byte as a decimal number.
      const auto decimal = whole_number<uint64_t>(field(kPattern));
      const auto pattern = decimal && *decimal < 256
                               ? Pattern::of_byte(static_cast<uint8_t>(*decimal))
                               : Pattern::parse(field(kPattern)).value_or(Pattern());
      if (!pattern.known()) {
        damaged(line, kPattern, "a byte from 0 to 255 or 0x00 to 0xff");
        return false;
      }
      condition.pattern = pattern;
      condition_ = output_.statistics.condition(condition);
      retention_ = field(kRetention);
      pattern_ = field(kPattern);
    }
    if (!count(*channel, *pseudo_channel, *bank, *row, *bit)) {
      output_.log.damaged(line, outside(flat_bank(*channel, *pseudo_channel, *bank), *row, *bit),
                          kInside);
      return false;
    }
    return true;
  }

  bool alike(uint64_t) override {
    if (digits(kChannel) >= kChannels || digits(kPseudoChannel) >= kPseudoChannels ||
        digits(kBank) >= kBanks || digits(kRow) >= kMostRows || digits(kColumn) >= kMostRowBits) {
      return false;
    }
    const auto bit = bit_in_row(digits(kColumn), digits(kBit), column_bits_);
    return bit &&
           count(digits(kChannel), digits(kPseudoChannel), digits(kBank), digits(kRow), *bit);
  }

  static uint32_t flat_bank(uint64_t channel, uint64_t pseudo_channel, uint64_t bank) {
    return static_cast<uint32_t>((channel * kPseudoChannels + pseudo_channel) * kBanks + bank);
  }

  bool count(uint64_t channel, uint64_t pseudo_channel, uint64_t bank, uint64_t row, uint32_t bit) {
    Statistics& statistics = output_.statistics;
    const auto row_number = static_cast<uint32_t>(row);
    return statistics.flip(condition_, 0, flat_bank(channel, pseudo_channel, bank), row_number, bit,
                           statistics.condition_of(condition_).pattern.stored(row_number, bit));
  }

  static constexpr uint64_t kChannels = 1024, kPseudoChannels = 2, kBanks = 16;
  const uint32_t column_bits_;
  int condition_ = -1;
  std::string retention_, pattern_;
};

// The flips of PaCRAM's tests of RowHammer under a short tRAS (files *.ber): a row of one bank and
// a bit of it. Its programs take lines that agree for one flip. Its other files, of thresholds and
// of what is computed from them, tell no rates, and are refused by name.
class PacramCsv : public CsvParser {
 public:
  PacramCsv(const Settings& settings, Output& output)
      : CsvParser({{"PivotRow", false, true},
                   {"BitLoc", false, true},
                   {"nRH", false},
                   {"norm_nRH", false},
                   {"norm_bfs", false},
                   {"n_nRH", false}},
                  settings, output) {
    const auto& banks = settings.tested.banks;
    if (banks.size() > 1) {
      refuse("banks has ", banks.size(), " of them; allowed for pacram is the one that was tested");
    }
    if (!banks.empty()) bank_ = banks[0];
  }

 private:
  enum { kRow, kBit, kThreshold, kNormalThreshold, kNormalFlips, kConfiguration };

  // What the file holds and what was said of it, at its first line.
  void begin() {
    constexpr const char* kAllowed =
        "; allowed are its files *.ber, with the columns PivotRow and BitLoc";
    if (has(kThreshold)) {
      refuse<FormatError>(
          "line 1: found the column nRH: the least activations of its neighbours that a row fails "
          "at tell neither how many of its cells fail nor of how many, so that no rate follows",
          kAllowed);
    }
    for (const int column : {kNormalThreshold, kNormalFlips, kConfiguration}) {
      if (!has(column)) continue;
      refuse<FormatError>("line 1: found the column ",
                          column == kNormalThreshold ? "norm_nRH"
                          : column == kNormalFlips   ? "norm_bfs"
                                                     : "n_nRH",
                          ": shares of what the same row did at the nominal tRAS, so that no rate "
                          "follows",
                          kAllowed);
    }
    if (!has(kRow) || !has(kBit)) {
      refuse<FormatError>("line 1: the column ", has(kRow) ? "BitLoc" : "PivotRow", " is missing",
                          kAllowed);
    }
    if (!(settings_.at.field[kHammerCount] > 0.0)) {
      refuse("hammer_count is missing; allowed for pacram is at with the activations of the test, ",
             "because its rows were hammered: what failed did not fail of tRAS alone");
    }
    condition_ = output_.statistics.condition(settings_.at);
    output_.statistics.pass(condition_, 0);
  }

  bool row(uint64_t line) override {
    if (condition_ < 0) begin();
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return false;
    const auto bit = number(line, kBit, 0, kMostRowBits - 1);
    if (!bit) return false;
    if (!count(*row, *bit)) {
      output_.log.damaged(line, outside(bank_, *row, *bit), kInside);
      return false;
    }
    return true;
  }

  bool alike(uint64_t) override {
    return digits(kRow) < kMostRows && digits(kBit) < kMostRowBits &&
           count(digits(kRow), digits(kBit));
  }

  bool count(uint64_t row, uint64_t bit) {
    Statistics& statistics = output_.statistics;
    const auto r = static_cast<uint32_t>(row), b = static_cast<uint32_t>(bit);
    return statistics.flip(condition_, 0, bank_, r, b,
                           statistics.condition_of(condition_).pattern.stored(r, b));
  }

  uint32_t bank_ = 0;
  int condition_ = -1;
};

bool is_pacram_csv(std::string_view head) {
  return has_columns(head, {"PivotRow"}) || has_columns(head, {"norm_tras", "n_nRH"});
}

bool is_hbm_csv(std::string_view head) {
  return has_columns(head, {"channel", "pseudo_channel", "bank", "retention_time_in_ms"});
}

bool is_flips_csv(std::string_view head) {
  return has_columns(head, {"bank", "row", "bit"}) && !is_hbm_csv(head);
}

}  // namespace

const Format kFlipsFormat{
    "flips",
    "lines",
    {"at", "pattern", "banks", "rows", "row_bits", "subarray_rows", "column_bits", "repeats"},
    is_flips_csv,
    make<FlipsCsv>};
const Format kPacramFormat{"pacram",
                           "lines",
                           {"at", "pattern", "banks", "rows", "row_bits", "subarray_rows"},
                           is_pacram_csv,
                           make<PacramCsv>};
const Format kHbmFormat{"dram-bender-hbm",
                        "lines",
                        {"at", "banks", "rows", "row_bits", "subarray_rows", "column_bits"},
                        is_hbm_csv,
                        make<HbmCsv>};

}  // namespace eden::measurements
