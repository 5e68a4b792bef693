// Running reductions along one axis.
#include <cstring>

#include "rill/cpu/backend.h"
#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/scan_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using scan_kernels::Job;
using scan_kernels::Kernel;

constexpr int64_t grain = 32768;           // elements
constexpr int64_t block_elements = 65536;  // of a long scan, done by one thread
constexpr int64_t blocks_at_once = 32;     // what they read stays cached until they read it again
constexpr int64_t few_bands = 16;
constexpr int64_t short_rows = 16;   // of one column: they are turned
constexpr int64_t many_bands = 64;   // enough for some cores, a vector of them side by side in each
constexpr int64_t turned_side = 64;  // of a block

/// An array as outer x rows x inner, scanned down the rows in bands of columns. How it is cut
/// depends on its shape only, and so do the bits of the result.
class Scan {
 public:
  Scan(const Kernel& kernel, const ScanAttrs& attrs, const char* src, Output& out)
      : kernel_(kernel),
        item_(size_of(out.dtype)),
        reverse_(attrs.reverse),
        exclusive_(!attrs.inclusive),
        stream_(use_streaming(out.bytes())),
        rows_(out.shape[attrs.axis]),
        src_(src),
        dst_(out.data) {
    for (int i = attrs.axis + 1; i < out.shape.ssize(); ++i) inner_ *= out.shape[i];
    columns_ = std::min(inner_, scan_kernels::most_columns);
    tiles_ = (inner_ - 1) / columns_ + 1;
    bands_ = out.size / (rows_ * inner_) * tiles_;
    // A step of the logarithms waits long for the one before it: many lines keep it busy.
    const bool waits = attrs.kind == ScanKind::logaddexp && bands_ >= many_bands;
    turned_ = inner_ == 1 && (waits || (bands_ >= few_bands && rows_ <= short_rows));
    if (exclusive_) --rows_;
  }

  void run() {
    if (turned_) return run_turned();
    const int64_t block = std::max<int64_t>(1, block_elements / columns_);
    if (bands_ < few_bands && rows_ >= 4 * block) {
      for (int64_t band = 0; band < bands_; ++band) run_in_blocks(band, block);
      return;
    }
    parallel_for(bands_, std::max<int64_t>(1, grain / ((rows_ + 1) * columns_)),
                 [&](int64_t begin, int64_t end) {
                   Carry carry;
                   for (int64_t band = begin; band < end; ++band) {
                     Job job = start(band);
                     set_identity(carry.bytes, job.columns);
                     job.carry = carry.bytes;
                     kernel_.run(job);
                   }
                   if (stream_) stream_fence();
                 });
  }

 private:
  static constexpr int64_t carry_bytes =
      (scan_kernels::most_columns + scan_kernels::carry_padding) * 8;
  struct Carry {
    alignas(64) char bytes[carry_bytes];
  };

  void set_identity(char* carry, int64_t columns) const {
    for (int64_t j = 0; j < columns; ++j) {
      std::memcpy(carry + j * kernel_.carry_size, kernel_.carry_identity, kernel_.carry_size);
    }
  }

  /// The job of a band, all of its rows, but for the carry. Writes where an exclusive scan begins:
  /// the rest of it is an inclusive scan, a row further.
  Job start(int64_t band) const {
    int64_t column = band % tiles_ * columns_;
    int64_t all_rows = rows_ + (exclusive_ ? 1 : 0);
    int64_t offset = (band / tiles_ * all_rows * inner_ + column) * item_;
    int64_t row = inner_ * item_;
    Job job{src_ + offset, dst_ + offset, rows_,  inner_, std::min(columns_, inner_ - column),
            reverse_,      stream_,       nullptr};
    if (!exclusive_) return job;
    char* first = dst_ + offset + (reverse_ ? rows_ * row : 0);
    for (int64_t j = 0; j < job.columns; ++j) {
      std::memcpy(first + j * item_, kernel_.element_identity, item_);
    }
    if (reverse_) job.src = src_ + offset + row;
    else job.dst = dst_ + offset + row;
    return job;
  }

  /// Rows [begin, begin + count) in the order of the scan.
  Job part(const Job& all, int64_t begin, int64_t count, char* carry) const {
    int64_t row = reverse_ ? all.rows - begin - count : begin;
    Job job = all;
    job.src = static_cast<const char*>(all.src) + row * inner_ * item_;
    job.dst = static_cast<char*>(all.dst) + row * inner_ * item_;
    job.rows = count;
    job.carry = carry;
    return job;
  }

  /// First what each block adds up to, then its scan from what came before.
  void run_in_blocks(int64_t band, int64_t block) const {
    Job all = start(band);
    std::vector<Carry> totals(blocks_at_once);
    Carry running;
    set_identity(running.bytes, all.columns);
    for (int64_t first = 0; first < rows_; first += blocks_at_once * block) {
      int64_t rows = std::min(blocks_at_once * block, rows_ - first);
      parallel_for(rows, block, [&](int64_t begin, int64_t end) {
        char* total = totals[begin / block].bytes;
        set_identity(total, all.columns);
        Job job = part(all, first + begin, end - begin, total);
        job.dst = nullptr;
        kernel_.run(job);
      });
      for (int64_t i = 0; i * block < rows; ++i) {
        Carry before = running;
        kernel_.combine(running.bytes, totals[i].bytes, all.columns);
        totals[i] = before;
      }
      parallel_for(rows, block, [&](int64_t begin, int64_t end) {
        kernel_.run(part(all, first + begin, end - begin, totals[begin / block].bytes));
        if (stream_) stream_fence();
      });
    }
  }

  /// Lines of consecutive elements, some side by side: as columns of blocks that are turned round
  /// and back.
  void run_turned() const {
    // Each core gets some. The bits of a line do not depend on those beside it.
    const int64_t share = bands_ / (2 * parallel_width()) / 16 * 16;
    const int64_t lines = std::clamp<int64_t>(share, 16, turned_side);
    parallel_for((bands_ - 1) / lines + 1, std::max<int64_t>(1, grain / ((rows_ + 1) * lines)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t group = begin; group < end; ++group) {
                     scan_turned(group * lines, std::min(lines, bands_ - group * lines));
                   }
                 });
  }

  void scan_turned(int64_t first, int64_t lines) const {
    const int64_t line = (rows_ + (exclusive_ ? 1 : 0)) * item_;
    const Job all = start(first);
    for (int64_t i = 1; i < lines && exclusive_; ++i) start(first + i);
    alignas(64) uint8_t block[turned_side * turned_side * sizeof(int64_t)];
    const int64_t step = turned_side * item_;
    Carry carry;
    set_identity(carry.bytes, lines);
    for (int64_t begin = 0; begin < rows_; begin += turned_side) {
      const int64_t count = std::min(turned_side, rows_ - begin);
      const Job here = part(all, begin, count, carry.bytes);
      copy_kernels::transpose(
          item_, {static_cast<const uint8_t*>(here.src), line, block, step, count, lines, false});
      kernel_.run({block, block, count, turned_side, lines, reverse_, false, carry.bytes});
      copy_kernels::transpose(
          item_, {block, step, static_cast<uint8_t*>(here.dst), line, lines, count, false});
    }
  }

  const Kernel& kernel_;
  int item_;
  bool reverse_;
  bool exclusive_;
  bool stream_;
  bool turned_;
  int64_t rows_;  // that are scanned
  int64_t inner_ = 1;
  int64_t columns_;
  int64_t tiles_;
  int64_t bands_;
  const char* src_;
  char* dst_;
};

void run_scan(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  const auto& attrs = launch.attrs<ScanAttrs>();
  Kernel kernel = scan_kernels::find(attrs.kind, in.dtype);
  RowMajor source(in);
  Scan(kernel, attrs, source.as<char>(), out).run();
}

}  // namespace

void add_scan_kernels() { set_cpu_kernel(scan_op, run_scan); }

}  // namespace rill
