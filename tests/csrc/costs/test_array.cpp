// Are the words that cross what the order of the loops asks for, counted by hand and by a direct
// simulation of every access?
#include <cstdint>
#include <random>
#include <set>
#include <stdexcept>
#include <string>

#include "catch2.h"
#include "costs/array.h"

namespace {

using eden::ConvolutionShape;
using eden::Dataflow;
using eden::DramWords;
using eden::ProcessingArray;

ConvolutionShape convolution(std::int64_t channels, std::int64_t size, std::int64_t filters,
                             std::int64_t kernel, std::int64_t stride = 1,
                             std::int64_t padding = 0) {
  return {1, channels, size, size, filters, kernel, kernel, stride, stride, padding, padding};
}

ProcessingArray array(Dataflow dataflow, std::int64_t input_words, std::int64_t filter_words,
                      std::int64_t accumulators = 1 << 30) {
  return {dataflow, 12, 14, input_words, filter_words, accumulators};
}

// A half of a memory, word by word.
class Half {
 public:
  explicit Half(std::int64_t capacity) : capacity_(capacity) {}
  void use(std::int64_t word) {
    if (!there_.insert(word).second) return;
    ++fetched_;
    if (static_cast<std::int64_t>(there_.size()) == capacity_) there_.clear();
  }
  std::int64_t fetched() const { return fetched_; }

 private:
  std::int64_t capacity_;
  std::int64_t fetched_ = 0;
  std::set<std::int64_t> there_;
};

// The output-stationary loops, one word of the window after the other, as the array asks for them.
DramWords by_words(const ConvolutionShape& shape, const ProcessingArray& of) {
  Half input(of.input_words);
  Half filters(of.filter_words);
  const std::int64_t width = shape.output_width();
  const std::int64_t pixels = shape.samples * shape.output_height() * width;
  for (std::int64_t fc = 0; fc < shape.filters; fc += of.columns) {
    for (std::int64_t fp = 0; fp < pixels; fp += of.rows) {
      for (std::int64_t t = 0; t < shape.window(); ++t) {
        const std::int64_t c = t % shape.channels;
        const std::int64_t kx = t / shape.channels % shape.kernel_width;
        const std::int64_t ky = t / shape.channels / shape.kernel_width;
        for (std::int64_t p = fp; p < std::min(fp + of.rows, pixels); ++p) {
          const std::int64_t n = p / width / shape.output_height();
          const std::int64_t y = p / width % shape.output_height() * shape.stride_height +
                                 ky * shape.dilation_height - shape.padding_height;
          const std::int64_t x =
              p % width * shape.stride_width + kx * shape.dilation_width - shape.padding_width;
          if (y < 0 || y >= shape.height || x < 0 || x >= shape.width) continue;
          input.use(((n * shape.height + y) * shape.width + x) * shape.channels + c);
        }
        for (std::int64_t f = fc; f < std::min(fc + of.columns, shape.filters); ++f) {
          filters.use(f * shape.window() + t);
        }
      }
    }
  }
  return {input.fetched(), filters.fetched(), pixels * shape.filters};
}

std::string error_of(const ConvolutionShape& shape, const ProcessingArray& of) {
  try {
    eden::array_traffic(shape, of);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("traffic: what fits is read once, whatever the dataflow") {
  const ConvolutionShape shape = convolution(8, 20, 30, 3, 1, 1);
  for (const Dataflow flow :
       {Dataflow::kOutputStationary, Dataflow::kWeightStationary, Dataflow::kRowStationary}) {
    const DramWords words = eden::array_traffic(shape, array(flow, 1 << 20, 1 << 20));
    CHECK(words.input_reads == 8 * 20 * 20);
    CHECK(words.filter_reads == 30 * 9 * 8);
    CHECK(words.output_writes == 30 * 20 * 20);
  }
}

TEST_CASE("traffic: a matrix product on an output-stationary array, by hand") {
  // 100 by 50 times 50 by 40: 9 folds of 12 rows, 3 of 14 columns.
  const ConvolutionShape product{1, 50, 1, 100, 40, 1, 1};
  const auto reads = [&](std::int64_t input_words, std::int64_t filter_words) {
    return eden::array_traffic(product,
                               array(Dataflow::kOutputStationary, input_words, filter_words));
  };
  // Neither 5,000 words of the left matrix nor the 700 or 600 of one fold of the right fit.
  CHECK(reads(5000, 600).input_reads == 3 * 5000);
  CHECK(reads(5000, 600).filter_reads == 9 * 2000);
  CHECK(reads(5001, 600).input_reads == 5000);
  // A fold fits; the memory's halves change places inside the second fold, after 301 of its 700
  // words, and inside the third, after 301 of 600.
  CHECK(reads(5000, 1001).filter_reads == 700 + (700 + 301) + (600 + 301));
}

TEST_CASE("traffic: weights and rows that stay, by hand") {
  // 100 outputs, 40 filters; 14 filters at a time keep 20 x 14 sums: 5 blocks of 20 outputs.
  const ConvolutionShape product{1, 50, 1, 100, 40, 1, 1};
  const DramWords weights =
      eden::array_traffic(product, array(Dataflow::kWeightStationary, 100, 500, 280));
  CHECK(weights.filter_reads == 5 * 2000);
  // 3 folds of filters, of which each goes through the 1,000 words of a block.
  CHECK(weights.input_reads == 3 * 5000);
  // 28 output rows are 2 strips of 14; a strip of 16 input rows fits, so rows around the change of
  // the halves are read twice.
  const ConvolutionShape rows = convolution(4, 30, 20, 3);
  const DramWords strips =
      eden::array_traffic(rows, array(Dataflow::kRowStationary, 16 * 30 * 4 + 1, 100));
  CHECK(strips.input_reads >= 30 * 30 * 4);
  CHECK(strips.input_reads <= 33 * 30 * 4);
  CHECK(strips.filter_reads == 2 * 20 * 36);
}

TEST_CASE("traffic: reads of filters equal a simulation of every access, of inputs closely") {
  std::mt19937 random(8);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  for (int trial = 0; trial < 200; ++trial) {
    ConvolutionShape shape = convolution(draw(1, 6), draw(7, 14), draw(1, 40), draw(1, 4));
    shape.samples = draw(1, 2);
    shape.stride_width = shape.stride_height = draw(1, 3);
    shape.padding_width = shape.padding_height = draw(0, 2);
    shape.dilation_width = draw(1, 2);
    const ProcessingArray of{
        Dataflow::kOutputStationary, draw(2, 9), draw(2, 9), draw(20, 3000), draw(5, 2000), 1};
    const DramWords expected = by_words(shape, of);
    const DramWords words = eden::array_traffic(shape, of);
    INFO("trial " << trial);
    CHECK(words.filter_reads == expected.filter_reads);
    CHECK(words.output_writes == expected.output_writes);
    // A window that does not fit is asked for column by column in truth, in one go here.
    const std::int64_t fold = of.rows * shape.window();
    if (of.input_words > 2 * fold) {
      CHECK(words.input_reads <= expected.input_reads * 1.15);
      CHECK(words.input_reads >= expected.input_reads * 0.85);
    }
  }
}

TEST_CASE("traffic: padding and gaps between windows are not read") {
  const ProcessingArray large = array(Dataflow::kOutputStationary, 1 << 20, 1 << 20);
  CHECK(eden::array_traffic(convolution(3, 9, 5, 1, 2), large).input_reads == 3 * 25);
  CHECK(eden::array_traffic(convolution(3, 9, 5, 3, 1, 1), large).input_reads == 3 * 81);
  ConvolutionShape dilated = convolution(2, 5, 1, 3);
  dilated.dilation_height = dilated.dilation_width = 2;
  CHECK(eden::array_traffic(dilated, large).input_reads == 2 * 9);
}

TEST_CASE("traffic: errors name the figure") {
  const ProcessingArray good = array(Dataflow::kOutputStationary, 100, 100);
  CHECK(error_of(convolution(0, 5, 1, 3), good) == "layer: channels is 0; allowed is 1 or more");
  CHECK(error_of(convolution(1, 2, 1, 3), good) ==
        "layer: output height is 0; allowed is 1 or more");
  ProcessingArray bad = good;
  bad.filter_words = 0;
  CHECK(error_of(convolution(1, 5, 1, 3), bad) == "array: filter_words is 0; allowed is 1 or more");
}
