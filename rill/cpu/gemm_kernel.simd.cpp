#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemm_kernel.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_pack-inl.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unrolled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill::gemm_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Vector = hn::Vec<Wide>;

// Accumulators fill the register file but for the vectors of B and a broadcast of A. With AVX-512 a
// processor that multiplies two vectors a cycle loads two at most: wide panels need fewer loads.
constexpr bool many_registers = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;
constexpr int most_vectors = many_registers ? 3 : 2;
constexpr int64_t register_rows = many_registers ? 8 : 6;
constexpr int64_t half = static_cast<int64_t>(hn::MaxLanes(Wide()));
constexpr int64_t lanes_of_b = most_vectors * half;

constexpr int64_t floats_of_line = 16;

// Where a register kernel reads a side: in a panel; in the matrix, where lanes lie side by side,
// then it writes the panel meanwhile; or in the rows of A as they lie, which needs no panel.
enum class Form { panel, matrix, rows };

/// What comes to the second cache while a call multiplies: a line with each depth, from
/// `register_rows` lanes in turn, then the next line of each.
struct Fetch {
  const float* first = nullptr;
  int64_t lane_stride = 0;
  int64_t line_stride = 0;
  int64_t lines = 0;  // of each lane
};

/// One panel of A by one of B; those of a matrix have their depths `stride` apart, or A its rows.
struct RegisterCall {
  const float* a;
  int64_t a_stride;
  float* a_panel;  // to write
  const float* b;
  int64_t b_stride;
  float* b_panel;
  Fetch fetch;
  float* c;
  const float* next_c;  // the result of the next call comes to the second cache, too
  int64_t ldc;
  int64_t cols, depth;
  float alpha;
  Addend addend, last;  // the first row of each is added to the first of these
};

/// Result and addends where the last vector is not full.
template <int Rows, int Vectors>
HWY_ATTR inline void add_to_edge(const RegisterCall& call, const float* sums) {
  const auto of = [](const Addend& addend, int64_t i, int64_t j) {
    return addend.rows != nullptr ? addend.factor * addend.rows[i * addend.stride + j] : 0.0f;
  };
  for (int64_t i = 0; i < Rows; ++i) {
    float* row = call.c + i * call.ldc;
    for (int64_t j = 0; j < call.cols; ++j) {
      row[j] = sums[i * Vectors * half + j] + of(call.addend, i, j) + of(call.last, i, j);
    }
  }
}

// The copies are free: the additions take all the time.
template <int Rows, int Vectors, Form FormA, Form FormB>
HWY_ATTR void multiply_registers(const RegisterCall& call) {
  constexpr int64_t depths_ahead = 12;
  const Wide d;
  const float* HWY_RESTRICT a = call.a;
  const float* HWY_RESTRICT b = call.b;
  float* HWY_RESTRICT a_panel = call.a_panel;
  float* HWY_RESTRICT b_panel = call.b_panel;
  Vector sum[Rows][Vectors];
  const auto each = [&](auto change) RILL_INLINE {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) change(i, v, sum[i][v]);
    }
  };
  each([&](int, int, Vector& value) RILL_INLINE { value = hn::Zero(d); });
  const int64_t a_lane = FormA == Form::rows ? call.a_stride : 1;
  const int64_t a_step = FormA == Form::rows    ? 1
                         : FormA == Form::panel ? register_rows
                                                : call.a_stride;
  const int64_t b_step = FormB == Form::panel ? lanes_of_b : call.b_stride;
  const auto add_products = [&]() RILL_INLINE {
    if constexpr (FormB != Form::panel) {
      prefetch_lines<Vectors * half * sizeof(float)>(b + depths_ahead * b_step);
    }
    Vector of_b[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      of_b[v] = hn::LoadU(d, b + v * half);
      if constexpr (FormB != Form::panel) hn::StoreU(of_b[v], d, b_panel + v * half);
    }
    b_panel += lanes_of_b;
    if constexpr (FormA == Form::matrix) {
      prefetch_lines<64>(a + depths_ahead * a_step);
      copy_lanes(Quad(), a, Rows, a_panel);
      a_panel += register_rows;
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const Vector value = hn::Set(d, a[i * a_lane]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[i][v] = hn::MulAdd(value, of_b[v], sum[i][v]);
    }
    a += a_step;
    b += b_step;
  };
  // A row at a time: all at once, they would keep what is needed first from coming.
  int64_t left = call.depth;
  const float* next_c = call.next_c;
  for (int64_t i = std::min(register_rows, left); i > 0; --i, --left, next_c += call.ldc) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) prefetch_later(next_c + v * half);
    add_products();
  }
  const float* line = call.fetch.first;
  for (int64_t i = call.fetch.lines; i > 0 && left >= register_rows; --i) {
    const float* next = line;
    for (int64_t lane = 0; lane < register_rows; ++lane, next += call.fetch.lane_stride) {
      prefetch_later(next);
      add_products();
    }
    line += call.fetch.line_stride;
    left -= register_rows;
  }
#pragma GCC unroll 4
  for (; left > 0; --left) add_products();
  if (call.alpha != 1) {
    const Vector alpha = hn::Set(d, call.alpha);
    each([&](int, int, Vector& value) RILL_INLINE { value = hn::Mul(alpha, value); });
  }
  if (call.cols < Vectors * half) {
    HWY_ALIGN float edge[Rows * Vectors * half];
    each([&](int i, int v, Vector& value)
             RILL_INLINE { hn::Store(value, d, edge + (i * Vectors + v) * half); });
    return add_to_edge<Rows, Vectors>(call, edge);
  }
  const auto add = [&](const Addend& addend) RILL_INLINE {
    const Vector factor = hn::Set(d, addend.factor);
    each([&](int i, int v, Vector& value) RILL_INLINE {
      const float* row = addend.rows + i * addend.stride;
      value = hn::Add(value, hn::Mul(factor, hn::LoadU(d, row + v * half)));
    });
  };
  if (call.addend.rows != nullptr) {
    add(call.addend);
  } else {
    // A sum of -0 becomes 0.
    each([&](int, int, Vector& value) RILL_INLINE { value = hn::Add(value, hn::Zero(d)); });
  }
  if (call.last.rows != nullptr) add(call.last);
  each([&](int i, int v, Vector& value)
           RILL_INLINE { hn::StoreU(value, d, call.c + i * call.ldc + v * half); });
}

using RegisterKernel = void (*)(const RegisterCall&);

template <Form A, int Vectors, int... Rows>
constexpr std::array<RegisterKernel, sizeof...(Rows)> register_kernels(
    std::integer_sequence<int, Rows...>) {
  return {&multiply_registers<Rows + 1, Vectors, A, Form::panel>...};
}

template <Form A, int... Vectors>
constexpr auto kernels_of_vectors(std::integer_sequence<int, Vectors...>) {
  return std::array{register_kernels<A, Vectors + 1>(
      std::make_integer_sequence<int, static_cast<int>(register_rows)>())...};
}

template <Form A>
constexpr auto kernels = kernels_of_vectors<A>(std::make_integer_sequence<int, most_vectors>());

/// By the form of A, for a B that lies in its matrix.
constexpr RegisterKernel kernels_of_matrix[] = {
    &multiply_registers<register_rows, most_vectors, Form::panel, Form::matrix>,
    &multiply_registers<register_rows, most_vectors, Form::matrix, Form::matrix>,
    &multiply_registers<register_rows, most_vectors, Form::rows, Form::matrix>};

RegisterKernel kernel_for(Form a, Form b, int64_t rows, int64_t cols) {
  if (b == Form::matrix) return kernels_of_matrix[static_cast<int>(a)];
  const auto vectors = static_cast<size_t>((cols - 1) / half);
  const auto row = static_cast<size_t>(rows - 1);
  if (a == Form::panel) return kernels<Form::panel>[vectors][row];
  if (a == Form::rows) return kernels<Form::rows>[vectors][row];
  return &multiply_registers<register_rows, most_vectors, Form::matrix, Form::panel>;
}

/// What all calls for a block or a tile have in common.
template <class Product>
RegisterCall call_for(const Product& product) {
  RegisterCall call = {};
  call.ldc = product.ldc;
  call.depth = product.depth;
  call.alpha = product.alpha;
  return call;
}

/// Where the call after one for columns from `col` on writes, whose rows end before `row`.
template <class Product>
const float* next_result(const Product& product, int64_t row, int64_t col) {
  if (row < product.rows) return product.c + row * product.ldc + col;
  return product.c + (col + lanes_of_b < product.cols ? col + lanes_of_b : col);
}

/// The part of an addend that begins with its element (row, col).
Addend from_element(const Addend& addend, int64_t row, int64_t col) {
  if (addend.rows == nullptr) return addend;
  return {addend.rows + row * addend.stride + col, addend.stride, addend.factor};
}

/// The share of a panel that one of `calls` fetches, the `index`-th of them.
Fetch fetch_of_panel(const float* panel, int64_t depth, int64_t calls, int64_t index) {
  constexpr int64_t group = register_rows * floats_of_line;
  const int64_t groups = (lanes_of_b * depth + group - 1) / group;
  const int64_t each = (groups + calls - 1) / calls;
  const int64_t lines = std::min(each, groups - index * each);
  return {panel + index * each * group, floats_of_line, group, lines};
}

int64_t panels_of_rows(int64_t rows) { return (rows + register_rows - 1) / register_rows; }

void multiply_impl(const Block& block) {
  const int64_t panel = lanes_of_b * block.depth;
  const int64_t calls = panels_of_rows(block.rows);
  RegisterCall call = call_for(block);
  for (int64_t col = 0; col < block.cols; col += lanes_of_b) {
    call.b = block.b + col * block.depth;
    call.cols = std::min(lanes_of_b, block.cols - col);
    // While the rows pass, the next panel comes from the last cache, a piece with each.
    const bool more = col + lanes_of_b < block.cols;
    for (int64_t row = 0; row < block.rows; row += register_rows) {
      int64_t rows = std::min(register_rows, block.rows - row);
      call.a = block.a + row * block.depth;
      call.c = block.c + row * block.ldc + col;
      call.next_c = next_result(block, row + rows, col);
      if (block.accumulate) call.addend = {call.c, call.ldc, 1};
      if (more) {
        call.fetch = fetch_of_panel(call.b + panel, block.depth, calls, row / register_rows);
      } else {
        call.fetch = {};
      }
      kernel_for(Form::panel, Form::panel, rows, call.cols)(call);
    }
  }
}

Side from_lane(const Side& side, int64_t lane) {
  Side result = side;
  result.data = static_cast<const char*>(side.data) + lane * side.lane_stride * size_of(side.dtype);
  return result;
}

/// Is this best read by a kernel of `width` lanes as it lies?
bool readable(const Side& side, int64_t lanes, int64_t depth, int64_t width) {
  constexpr int64_t least_depth = 64;
  return side.dtype == Dtype::float32 && side.lane_stride == 1 && lanes == width &&
         depth >= least_depth;
}

void pack_impl(const Side& side, int64_t lanes, int64_t depth, int64_t width, float* out) {
  if (side.dtype == Dtype::float32) return pack_as<float>(side, lanes, depth, width, out);
  if (side.dtype == Dtype::float16) return pack_as<float16>(side, lanes, depth, width, out);
  pack_as<bfloat16>(side, lanes, depth, width, out);
}

// Rows that share sets of the caches are faster packed.
bool reads_rows_impl(const Side& a) {
  constexpr int64_t conflict = 2048;
  return many_registers && a.dtype == Dtype::float32 && a.depth_stride == 1 &&
         a.lane_stride % conflict != 0;
}

/// A panel of A that has been packed, or that the kernel reads as it lies; else packs it.
Form take_a(const Tile& tile, int64_t row, int64_t rows, bool packed, RegisterCall& call) {
  if (reads_rows_impl(tile.a)) {
    call.a = static_cast<const float*>(from_lane(tile.a, row).data);
    call.a_stride = tile.a.lane_stride;
    return Form::rows;
  }
  call.a = call.a_panel = tile.a_panels + row * tile.depth;
  if (packed) return Form::panel;
  const Side side = from_lane(tile.a, row);
  if (!readable(side, rows, tile.depth, register_rows)) {
    pack_impl(side, rows, tile.depth, register_rows, call.a_panel);
    return Form::panel;
  }
  call.a = static_cast<const float*>(side.data);
  call.a_stride = side.depth_stride;
  return Form::matrix;
}

/// The same for B, of which `rows` rows are first: only a kernel with all rows reads it as it lies.
Form take_b(const Tile& tile, int64_t col, int64_t rows, RegisterCall& call) {
  call.b = tile.b_panels + col * tile.depth;
  if (tile.b_panels != nullptr) return Form::panel;
  call.b = call.b_panel = tile.b_panel;
  const Side side = from_lane(tile.b, col);
  if (!readable(side, call.cols, tile.depth, lanes_of_b) || rows < register_rows) {
    pack_impl(side, call.cols, tile.depth, lanes_of_b, tile.b_panel);
    return Form::panel;
  }
  call.b = static_cast<const float*>(side.data);
  call.b_stride = side.depth_stride;
  return Form::matrix;
}

/// Are lanes of this side fetched before they are packed? They lie apart, in no pattern that the
/// processor sees.
bool fetches(const Side& side) { return side.dtype == Dtype::float32 && side.depth_stride == 1; }

/// The share of one of `calls` of the columns from `col` on of a B in rows: of one line of each
/// row, then, with later calls, of the next.
Fetch fetch_of_rows(const Tile& tile, int64_t col, int64_t calls, int64_t index) {
  constexpr int64_t lines = std::max<int64_t>(1, lanes_of_b / floats_of_line);
  const int64_t calls_of_line = calls / lines;
  if (tile.b.dtype != Dtype::float32 || index >= calls_of_line * lines) return {};
  const int64_t groups = tile.depth / register_rows;
  const int64_t each = (groups + calls_of_line - 1) / calls_of_line;
  const int64_t first = index % calls_of_line * each;
  const int64_t group_stride = register_rows * tile.b.depth_stride;
  const float* line = static_cast<const float*>(from_lane(tile.b, col).data) +
                      index / calls_of_line * floats_of_line;
  return {line + first * group_stride, tile.b.depth_stride, group_stride,
          std::min(each, groups - first)};
}

/// While panels are multiplied, those that will be read or packed next come: with the first columns
/// the lanes of A, then a part of B with each of the `calls` for some columns.
Fetch next_fetch(const Tile& tile, int64_t row, int64_t col, int64_t calls, int64_t index) {
  const auto lanes_of = [&](const Side& side, int64_t lane, int64_t lanes) -> Fetch {
    if (!fetches(side) || lane + register_rows > lanes) return {};
    return {static_cast<const float*>(from_lane(side, lane).data), side.lane_stride, floats_of_line,
            tile.depth / floats_of_line};
  };
  if (col == 0 && fetches(tile.a)) return lanes_of(tile.a, row + register_rows, tile.rows);
  const int64_t next = col + lanes_of_b;
  if (next >= tile.cols) return {};
  if (tile.b_panels != nullptr) {
    return fetch_of_panel(tile.b_panels + next * tile.depth, tile.depth, calls, index);
  }
  const int64_t lane = index * register_rows;
  if (tile.b.lane_stride == 1) return fetch_of_rows(tile, next, calls, index);
  return lane < lanes_of_b ? lanes_of(tile.b, next + lane, tile.cols) : Fetch();
}

void multiply_tile_impl(const Tile& tile) {
  RegisterCall call = call_for(tile);
  for (int64_t col = 0; col < tile.cols; col += lanes_of_b) {
    const int64_t above = std::max<int64_t>(0, col - tile.diagonal) / register_rows * register_rows;
    if (above >= tile.rows) break;
    call.cols = std::min(lanes_of_b, tile.cols - col);
    Form form_b = take_b(tile, col, tile.rows - above, call);
    const float* b_panel = form_b == Form::panel ? call.b : call.b_panel;
    const int64_t calls = panels_of_rows(tile.rows - above);
    for (int64_t row = above; row < tile.rows; row += register_rows) {
      const int64_t rows = std::min(register_rows, tile.rows - row);
      const Form form_a = take_a(tile, row, rows, col > 0, call);
      call.c = tile.c + row * tile.ldc + col;
      call.next_c = next_result(tile, row + rows, col);
      call.addend = from_element(tile.addend, row, col);
      call.last = from_element(tile.last, row, col);
      call.fetch = next_fetch(tile, row, col, calls, (row - above) / register_rows);
      kernel_for(form_a, form_b, rows, call.cols)(call);
      call.b = b_panel;
      form_b = Form::panel;
    }
  }
}

template <class T>
HWY_ATTR void narrow_as(const float* in, int64_t count, void* out) {
  const Wide d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  T* to = static_cast<T*>(out);
  int64_t i = 0;
  for (; i + step <= count; i += step) StoreAs(d, hn::LoadU(d, in + i), to + i);
  for (; i < count; ++i) to[i] = T(in[i]);
}

void narrow_impl(Dtype dtype, const float* in, int64_t count, void* out) {
  if (dtype == Dtype::float16) return narrow_as<float16>(in, count, out);
  narrow_as<bfloat16>(in, count, out);
}

Panels panels_impl() { return {register_rows, lanes_of_b, half}; }

}  // namespace
}  // namespace rill::gemm_kernel::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::gemm_kernel {

HWY_EXPORT(panels_impl);
HWY_EXPORT(reads_rows_impl);
HWY_EXPORT(pack_impl);
HWY_EXPORT(multiply_impl);
HWY_EXPORT(multiply_tile_impl);
HWY_EXPORT(narrow_impl);

Panels panels() { return HWY_DYNAMIC_DISPATCH(panels_impl)(); }

bool reads_rows(const Side& a) { return HWY_DYNAMIC_DISPATCH(reads_rows_impl)(a); }

void pack(const Side& side, int64_t lanes, int64_t depth, int64_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(pack_impl)(side, lanes, depth, width, out);
}

void multiply(const Block& block) { HWY_DYNAMIC_DISPATCH(multiply_impl)(block); }

void multiply(const Tile& tile) { HWY_DYNAMIC_DISPATCH(multiply_tile_impl)(tile); }

void narrow(Dtype dtype, const float* in, int64_t count, void* out) {
  HWY_DYNAMIC_DISPATCH(narrow_impl)(dtype, in, count, out);
}

}  // namespace rill::gemm_kernel
#endif
