// DRAM accesses of a layer on an array of processing elements with double-buffered memories, from
// the order of its loops.
#pragma once

#include <cstdint>

namespace eden {

// One group of a convolution. A matrix product is the convolution of a kernel of 1 by 1 with as
// many samples, or columns, as the left matrix has rows. Feature maps lie in memory with the
// channels last; padding is not in memory.
struct ConvolutionShape {
  std::int64_t samples;
  std::int64_t channels;
  std::int64_t height;
  std::int64_t width;
  std::int64_t filters;
  std::int64_t kernel_height;
  std::int64_t kernel_width;
  std::int64_t stride_height = 1;
  std::int64_t stride_width = 1;
  std::int64_t padding_height = 0;
  std::int64_t padding_width = 0;
  std::int64_t dilation_height = 1;
  std::int64_t dilation_width = 1;

  std::int64_t output_height() const;
  std::int64_t output_width() const;
  // Words of one filter.
  std::int64_t window() const { return kernel_height * kernel_width * channels; }
};

// What stays in the processing elements while the loops inside it run.
enum class Dataflow {
  kOutputStationary,  // an output pixel per row, a filter per column; for filters: for pixels
  kWeightStationary,  // a word of the window per row, a filter per column; for pixels, as many as
                      // the accumulators hold: for filters: for words of the window
  kRowStationary,     // a row of a kernel per row, a row of outputs per column; for output rows:
                      // for filters
};

struct ProcessingArray {
  Dataflow dataflow;
  std::int64_t rows;
  std::int64_t columns;
  // Words that one half of a memory holds. The array works from one half while the other is
  // filled; when a half is full the two change places and what was there is given up.
  std::int64_t input_words;
  std::int64_t filter_words;
  // Partial sums that the array can keep, of the weight-stationary dataflow.
  std::int64_t accumulators;
};

// Words of one group.
struct DramWords {
  std::int64_t input_reads;
  std::int64_t filter_reads;
  std::int64_t output_writes;
};

// Words that cross between the DRAM and an array's memories. Outputs are written once: partial sums
// stay in the array. Throws std::invalid_argument naming the figure that is out of range, and for a
// kernel that is larger than the padded input.
DramWords array_traffic(const ConvolutionShape& shape, const ProcessingArray& array);

}  // namespace eden
