// DRAM accesses of a network's layers: of an array of processing elements with double-buffered
// memories, from the order of its loops, and of a cache, from the order in which layers use
// operands.
#pragma once

#include <cstdint>
#include <vector>

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

// One operand as a cache sees it.
struct CachedOperand {
  std::int64_t bytes;
  bool kept;  // a weight, which is in the DRAM before and after; a feature map is written and,
              // after the last layer that reads it, given up without being written back
};

// What one layer uses, by index into the operands.
struct CachedLayer {
  std::vector<std::int64_t> reads;
  std::vector<std::int64_t> writes;
};

struct CacheBytes {
  std::vector<double> read;     // bytes by operand
  std::vector<double> written;  // bytes by operand
};

// Bytes that cross between the DRAM and a fully associative cache with least-recently-used
// replacement and write-back, in the last of a number of equal inferences, the cache empty before
// the first. A layer keeps the smallest operand that it reads in the cache, in parts of at most
// half of the cache, and goes once through all others for each part; what it writes is written in
// step with them, without being read first. Throws std::invalid_argument for a size or an index out
// of range.
CacheBytes cache_traffic(const std::vector<CachedOperand>& operands,
                         const std::vector<CachedLayer>& layers, std::int64_t capacity_bytes,
                         std::int64_t inferences);

}  // namespace eden
