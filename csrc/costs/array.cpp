#include "costs/array.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/refusal.h"

namespace eden {
namespace {

void check_at_least(std::string_view name, std::int64_t value, std::int64_t least) {
  if (value < least) refuse_value(name, value, least, " or more");
}

void check_shape(const ConvolutionShape& shape) {
  const std::pair<std::string_view, std::int64_t> sizes[] = {
      {"layer: samples", shape.samples},
      {"layer: channels", shape.channels},
      {"layer: height", shape.height},
      {"layer: width", shape.width},
      {"layer: filters", shape.filters},
      {"layer: kernel_height", shape.kernel_height},
      {"layer: kernel_width", shape.kernel_width},
      {"layer: stride_height", shape.stride_height},
      {"layer: stride_width", shape.stride_width},
      {"layer: dilation_height", shape.dilation_height},
      {"layer: dilation_width", shape.dilation_width},
  };
  for (const auto& [name, value] : sizes) check_at_least(name, value, 1);
  check_at_least("layer: padding_height", shape.padding_height, 0);
  check_at_least("layer: padding_width", shape.padding_width, 0);
  check_at_least("layer: output height", shape.output_height(), 1);
  check_at_least("layer: output width", shape.output_width(), 1);
}

void check_array(const ProcessingArray& array) {
  check_at_least("array: rows", array.rows, 1);
  check_at_least("array: columns", array.columns, 1);
  check_at_least("array: input_words", array.input_words, 1);
  check_at_least("array: filter_words", array.filter_words, 1);
  check_at_least("array: accumulators", array.accumulators, 1);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// One half of a double-buffered memory in front of a feature map. A word is there if it was fetched
// since the halves last changed places.
class HalfBuffer {
 public:
  HalfBuffer(std::int64_t map_words, std::int64_t capacity)
      : fetched_in_(static_cast<std::size_t>(map_words), 0), capacity_(capacity) {}

  void touch(std::int64_t begin, std::int64_t end) {
    for (std::int64_t word = begin; word < end; ++word) {
      std::uint32_t& last = fetched_in_[static_cast<std::size_t>(word)];
      if (last == turn_) continue;
      last = turn_;
      ++fetched_;
      if (++filled_ == capacity_) {
        ++turn_;
        filled_ = 0;
      }
    }
  }

  std::int64_t fetched() const { return fetched_; }

 private:
  std::vector<std::uint32_t> fetched_in_;  // by word, the turn of the halves that it came in
  std::int64_t capacity_;
  std::int64_t filled_ = 0;
  std::int64_t fetched_ = 0;
  std::uint32_t turn_ = 1;
};

// The same for words that are only ever used in the same order, block by block, each block several
// times in a row, so that counting needs no word-by-word state.
class BlockBuffer {
 public:
  explicit BlockBuffer(std::int64_t capacity) : capacity_(capacity) {}

  void use(std::int64_t block, std::int64_t times) {
    if (block >= capacity_) {
      // Every word is given up before its next use comes.
      fetched_ += block * times;
      filled_ = (filled_ + block * times) % capacity_;
      return;
    }
    fetched_ += block;
    const std::int64_t beyond = filled_ + block - capacity_;
    if (beyond < 0) {
      filled_ += block;
      return;
    }
    // The halves change places inside the block: its beginning is fetched again for the second use.
    filled_ = beyond;
    if (times > 1) {
      fetched_ += block - beyond;
      filled_ = block;
    }
  }

  std::int64_t fetched() const { return fetched_; }

 private:
  std::int64_t capacity_;
  std::int64_t filled_ = 0;
  std::int64_t fetched_ = 0;
};

// The words of a feature map that windows cover, through a half buffer.
class InputReader {
 public:
  InputReader(const ConvolutionShape& shape, std::int64_t capacity)
      : shape_(shape),
        buffer_(shape.samples * shape.height * shape.width * shape.channels, capacity),
        merges_(shape.dilation_width == 1 && shape.stride_width <= shape.kernel_width) {}

  // Words first to last of kernel row `row`, counted over its columns and channels, at the output
  // pixels [begin, end) of one row of outputs.
  void touch(std::int64_t sample, std::int64_t output_row, std::int64_t begin, std::int64_t end,
             std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t y =
        output_row * shape_.stride_height + row * shape_.dilation_height - shape_.padding_height;
    if (y < 0 || y >= shape_.height) return;
    const std::int64_t line = (sample * shape_.height + y) * shape_.width * shape_.channels;
    const bool whole = first == 0 && last == shape_.kernel_width * shape_.channels;
    if (whole && merges_) {
      touch_columns(line, column(begin), column(end - 1) + shape_.kernel_width);
      return;
    }
    for (std::int64_t x = begin; x < end; ++x) {
      if (shape_.dilation_width == 1) {
        touch_words(line, column(x) * shape_.channels + first, column(x) * shape_.channels + last);
        continue;
      }
      for (std::int64_t at = first; at < last;) {
        const std::int64_t kernel_column = at / shape_.channels;
        const std::int64_t stop = std::min(last, (kernel_column + 1) * shape_.channels);
        const std::int64_t base =
            (column(x) + kernel_column * (shape_.dilation_width - 1)) * shape_.channels;
        if (in_width(column(x) + kernel_column * shape_.dilation_width)) {
          touch_words(line, base + at, base + stop);
        }
        at = stop;
      }
    }
  }

  // All of the windows at the output pixels [begin, end), counted over rows and samples.
  void touch_pixels(std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < shape_.kernel_height; ++row) {
      each_row(begin, end,
               [&](std::int64_t sample, std::int64_t y, std::int64_t from, std::int64_t to) {
                 touch(sample, y, from, to, row, 0, shape_.kernel_width * shape_.channels);
               });
    }
  }

  // Words [first, last) of the windows at the output pixels [begin, end).
  void touch_slice(std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
    const std::int64_t line = shape_.kernel_width * shape_.channels;
    each_row(begin, end,
             [&](std::int64_t sample, std::int64_t y, std::int64_t from, std::int64_t to) {
               for (std::int64_t row = first / line; row <= (last - 1) / line; ++row) {
                 touch(sample, y, from, to, row, std::max(first - row * line, std::int64_t{0}),
                       std::min(last - row * line, line));
               }
             });
  }

  std::int64_t fetched() const { return buffer_.fetched(); }

 private:
  template <typename Visit>
  void each_row(std::int64_t begin, std::int64_t end, Visit visit) const {
    const std::int64_t width = shape_.output_width();
    const std::int64_t height = shape_.output_height();
    for (std::int64_t pixel = begin; pixel < end;) {
      const std::int64_t row = pixel / width;
      const std::int64_t stop = std::min(end, (row + 1) * width);
      visit(row / height, row % height, pixel - row * width, stop - row * width);
      pixel = stop;
    }
  }

  std::int64_t column(std::int64_t x) const {
    return x * shape_.stride_width - shape_.padding_width;
  }

  bool in_width(std::int64_t x) const { return x >= 0 && x < shape_.width; }

  void touch_columns(std::int64_t line, std::int64_t begin, std::int64_t end) {
    touch_words(line, begin * shape_.channels, end * shape_.channels);
  }

  void touch_words(std::int64_t line, std::int64_t begin, std::int64_t end) {
    begin = std::max(begin, std::int64_t{0});
    end = std::min(end, shape_.width * shape_.channels);
    if (begin < end) buffer_.touch(line + begin, line + end);
  }

  ConvolutionShape shape_;
  HalfBuffer buffer_;
  bool merges_;  // whether the windows of neighbouring pixels leave no gap between them
};

void output_stationary(const ConvolutionShape& shape, const ProcessingArray& array,
                       InputReader& input, BlockBuffer& filters) {
  const std::int64_t pixels = shape.samples * shape.output_height() * shape.output_width();
  const std::int64_t sweeps = ceil_div(shape.filters, array.columns);
  for (std::int64_t sweep = 0; sweep < sweeps; ++sweep) {
    const std::int64_t held =
        std::min(array.columns, shape.filters - sweep * array.columns) * shape.window();
    filters.use(held, ceil_div(pixels, array.rows));
  }
  for (std::int64_t sweep = 0; sweep < sweeps; ++sweep) {
    const std::int64_t before = input.fetched();
    for (std::int64_t pixel = 0; pixel < pixels; pixel += array.rows) {
      input.touch_pixels(pixel, std::min(pixel + array.rows, pixels));
    }
    // All of the map is there, and stays.
    if (input.fetched() == before) break;
  }
}

void weight_stationary(const ConvolutionShape& shape, const ProcessingArray& array,
                       InputReader& input, BlockBuffer& filters) {
  const std::int64_t pixels = shape.samples * shape.output_height() * shape.output_width();
  const std::int64_t used = std::min(array.columns, shape.filters);
  const std::int64_t held = std::max(array.accumulators / used, std::int64_t{1});
  filters.use(shape.window() * shape.filters, ceil_div(pixels, held));
  for (std::int64_t begin = 0; begin < pixels; begin += held) {
    const std::int64_t end = std::min(begin + held, pixels);
    for (std::int64_t filter = 0; filter < shape.filters; filter += array.columns) {
      const std::int64_t before = input.fetched();
      for (std::int64_t word = 0; word < shape.window(); word += array.rows) {
        input.touch_slice(begin, end, word, std::min(word + array.rows, shape.window()));
      }
      if (input.fetched() == before) break;
    }
  }
}

void row_stationary(const ConvolutionShape& shape, const ProcessingArray& array, InputReader& input,
                    BlockBuffer& filters) {
  const std::int64_t strips = ceil_div(shape.output_height(), array.columns);
  const std::int64_t together =
      std::max(array.rows / shape.kernel_height, std::int64_t{1});  // filters of one pass
  const std::int64_t width = shape.output_width();
  filters.use(shape.window() * shape.filters, strips * shape.samples);
  for (std::int64_t strip = 0; strip < strips * shape.samples; ++strip) {
    const std::int64_t row =
        strip / strips * shape.output_height() + strip % strips * array.columns;
    const std::int64_t rows =
        std::min(array.columns, shape.output_height() - strip % strips * array.columns);
    for (std::int64_t filter = 0; filter < shape.filters; filter += together) {
      const std::int64_t before = input.fetched();
      for (std::int64_t i = row; i < row + rows; ++i)
        input.touch_pixels(i * width, (i + 1) * width);
      if (input.fetched() == before) break;
    }
  }
}

}  // namespace

std::int64_t ConvolutionShape::output_height() const {
  const std::int64_t room = height + 2 * padding_height - dilation_height * (kernel_height - 1) - 1;
  return room < 0 ? 0 : room / stride_height + 1;
}

std::int64_t ConvolutionShape::output_width() const {
  const std::int64_t room = width + 2 * padding_width - dilation_width * (kernel_width - 1) - 1;
  return room < 0 ? 0 : room / stride_width + 1;
}

DramWords array_traffic(const ConvolutionShape& shape, const ProcessingArray& array) {
  check_shape(shape);
  check_array(array);
  InputReader input(shape, array.input_words);
  BlockBuffer filters(array.filter_words);
  switch (array.dataflow) {
    case Dataflow::kOutputStationary:
      output_stationary(shape, array, input, filters);
      break;
    case Dataflow::kWeightStationary:
      weight_stationary(shape, array, input, filters);
      break;
    case Dataflow::kRowStationary:
      row_stationary(shape, array, input, filters);
      break;
  }
  return {input.fetched(), filters.fetched(),
          shape.samples * shape.output_height() * shape.output_width() * shape.filters};
}

}  // namespace eden
