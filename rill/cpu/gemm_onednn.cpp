// bfloat16 by oneDNN.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/onednn.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

void check(dnnl_status_t status) { check_dnnl("matmul", status); }

/// Everything that code is generated for.
struct Key {
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool a_transposed, b_transposed;
  bool to_float;  // the result is float32, not bfloat16

  auto operator<=>(const Key&) const = default;
};

struct Operands {
  const void* a;
  const void* b;
  void* c;
};

/// A compiled product and the memory objects of one thread.
class Product {
 public:
  explicit Product(const Key& key) {
    auto a = describe(key.m, key.k, key.lda, key.a_transposed, dnnl_bf16);
    auto b = describe(key.k, key.n, key.ldb, key.b_transposed, dnnl_bf16);
    auto c = describe(key.m, key.n, key.ldc, false, key.to_float ? dnnl_f32 : dnnl_bf16);
    dnnl_matmul_desc_t product;
    check(dnnl().matmul_desc_init(&product, &a, &b, nullptr, &c));
    dnnl_primitive_attr_t attributes;
    check(dnnl().primitive_attr_create(&attributes));
    // The default scratch memory would be shared between threads.
    dnnl().primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    dnnl_primitive_desc_t description = nullptr;
    dnnl_status_t status =
        dnnl().primitive_desc_create(&description, &product, attributes, dnnl().engine, nullptr);
    dnnl().primitive_attr_destroy(attributes);
    check(status);
    dnnl_memory_desc_t scratch =
        *dnnl().primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    status = dnnl().primitive_create(&primitive_, description);
    dnnl().primitive_desc_destroy(description);
    check(status);
    scratch_bytes_ = dnnl().memory_desc_get_size(&scratch);
    const std::array descriptions = {&a, &b, &c, &scratch};
    for (size_t i = 0; i < memory_.size(); ++i) {
      check(dnnl().memory_create(&memory_[i], descriptions[i], dnnl().engine, nullptr));
    }
  }

  ~Product() {
    for (dnnl_memory_t memory : memory_) dnnl().memory_destroy(memory);
    if (primitive_ != nullptr) dnnl().primitive_destroy(primitive_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void run(dnnl_stream_t stream, const Operands& operands) {
    Scratch scratch(std::max<size_t>(scratch_bytes_, 1));
    const std::array<const void*, 4> data = {operands.a, operands.b, operands.c,
                                             scratch.as<void>()};
    for (size_t i = 0; i < memory_.size(); ++i) {
      check(dnnl().memory_set_data_handle(memory_[i], const_cast<void*>(data[i])));
    }
    const std::array<dnnl_exec_arg_t, 4> arguments = {{{DNNL_ARG_SRC, memory_[0]},
                                                       {DNNL_ARG_WEIGHTS, memory_[1]},
                                                       {DNNL_ARG_DST, memory_[2]},
                                                       {DNNL_ARG_SCRATCHPAD, memory_[3]}}};
    check(dnnl().primitive_execute(primitive_, stream, 4, arguments.data()));
  }

 private:
  static dnnl_memory_desc_t describe(int64_t rows, int64_t cols, int64_t ld, bool transposed,
                                     dnnl_data_type_t type) {
    dnnl_memory_desc_t description;
    const dnnl_dims_t sizes = {rows, cols};
    const dnnl_dims_t strides = {transposed ? 1 : ld, transposed ? ld : 1};
    check(dnnl().memory_desc_init_by_strides(&description, 2, sizes, type, strides));
    return description;
  }

  dnnl_primitive_t primitive_ = nullptr;
  std::array<dnnl_memory_t, 4> memory_ = {};
  size_t scratch_bytes_ = 0;
};

/// The products that a thread has used; the library itself keeps the code of the last thousand.
class Products {
 public:
  void run(const Key& key, const Operands& operands) {
    auto found = products_.find(key);
    if (found == products_.end()) {
      if (products_.size() == most_kept) products_.clear();
      found = products_.emplace(key, std::make_unique<Product>(key)).first;
    }
    found->second->run(dnnl_stream_of_thread(), operands);
  }

 private:
  static constexpr size_t most_kept = 256;
  std::map<Key, std::unique_ptr<Product>> products_;
};

const bfloat16* corner(const Matrix& matrix, int64_t row, int64_t col) {
  return static_cast<const bfloat16*>(matrix.data) + row * matrix.row_stride +
         col * matrix.col_stride;
}

}  // namespace

bool gemm_onednn(const GemmCall& call) {
  const auto& [shape, a, b, c, ldc, scale] = call;
  const DenseLayout layout_a = dense_layout(a, shape.m, shape.k);
  const DenseLayout layout_b = dense_layout(b, shape.k, shape.n);
  if (!layout_a.usable || !layout_b.usable) return false;
  // Scaling and adding happen in float32, tile by tile.
  const bool plain = scale.alpha == 1 && scale.c0.data == nullptr;
  const TileGrid grid = tile_grid(shape, 256, 512, 32, 64);
  parallel_for(grid.count(), grid.grain, [&](int64_t begin, int64_t end) {
    static thread_local Products products;
    OneThread one_thread;
    std::optional<Scratch> memory;
    if (!plain) {
      memory.emplace(static_cast<size_t>(grid.tile_rows * grid.tile_cols) * 2 * sizeof(float));
    }
    for (int64_t tile = begin; tile < end; ++tile) {
      int64_t row = tile / grid.col_tiles * grid.tile_rows;
      int64_t col = tile % grid.col_tiles * grid.tile_cols;
      int64_t rows = std::min(grid.tile_rows, shape.m - row);
      int64_t cols = std::min(grid.tile_cols, shape.n - col);
      bfloat16* out = static_cast<bfloat16*>(c) + row * ldc + col;
      float* sums = plain ? nullptr : memory->as<float>();
      Key key{rows,
              cols,
              shape.k,
              layout_a.ld,
              layout_b.ld,
              plain ? ldc : cols,
              layout_a.transposed,
              layout_b.transposed,
              !plain};
      products.run(key,
                   {corner(a, row, 0), corner(b, 0, col), plain ? static_cast<void*>(out) : sums});
      if (plain) continue;
      float* old = sums + rows * cols;
      if (scale.c0.data != nullptr) {
        seed_tile<bfloat16>(call, row, col, rows, cols, old, cols);
      } else {
        std::fill_n(old, rows * cols, 0.0f);
      }
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = i * cols; j < (i + 1) * cols; ++j) {
          sums[j] = static_cast<float>(scale.alpha) * sums[j] + old[j];
        }
        gemm_kernel::narrow(Dtype::bfloat16, sums + i * cols, cols, out + i * ldc);
      }
    }
  });
  return true;
}

}  // namespace rill
