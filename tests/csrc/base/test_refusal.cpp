// Do messages say numbers that read back, and name what is allowed?
#include <cstdint>
#include <limits>

#include "base/refusal.h"
#include "catch2.h"

using namespace eden;

TEST_CASE("numbers read back in the fewest digits") {
  CHECK(digits_of(2e-9) == "2e-09");
  CHECK(digits_of(0.1) == "0.1");
  CHECK(digits_of(0.1 + 0.2) == "0.30000000000000004");
  CHECK(digits_of(0.1f) == "0.1");
  CHECK(digits_of(100000.0) == "100000");
  CHECK(digits_of(1e16) == "1e+16");
  CHECK(digits_of(0.0) == "0");
  CHECK(digits_of(-5e-324) == "-5e-324");
  CHECK(digits_of(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(digits_of(std::numeric_limits<double>::quiet_NaN()) == "nan");
  for (double number = 1.2345678901234567e-20; number < 1e20; number *= 7.1) {
    CHECK(std::stod(digits_of(number)) == number);
  }
}

TEST_CASE("whole numbers are written whole") {
  CHECK(text_of(int64_t{-7}, ' ', std::numeric_limits<uint64_t>::max()) ==
        "-7 18446744073709551615");
}

TEST_CASE("a refusal says what was found and what is allowed") {
  CHECK_THROWS_WITH(refuse_value("ber", 2e-9, "0 to failure (", 1e-9, ")"),
                    "ber is 2e-09; allowed is 0 to failure (1e-09)");
  CHECK_THROWS_AS(refuse("x"), std::invalid_argument);
  CHECK_THROWS_AS(refuse<FormatError>("x"), FormatError);
  CHECK_THROWS_WITH(refuse_file("a.csv", "line ", 3, ": no number"), "a.csv: line 3: no number");
}
