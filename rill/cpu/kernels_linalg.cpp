// Inverses, solutions, determinants and Cholesky factors: small matrices by kernels of our own, for
// others one LAPACK call each. A row-major matrix is LAPACK's transpose of it, which most of these
// functions take as well.
#include "rill/cpu/backend.h"
#include "rill/cpu/linalg_batch.h"
#include "rill/cpu/linalg_cholesky.h"
#include "rill/cpu/linalg_small.h"
#include "rill/cpu/matrix_of.h"
#include "rill/ops/linalg.h"

namespace rill {

namespace {

using namespace linalg;

/// An operand as the small kernels take it: in its own memory, or in that of a copy.
class SmallOperand {
 public:
  explicit SmallOperand(const Output& in) {
    const int64_t rows = in.shape[in.shape.size() - 2];
    const int64_t columns = in.shape[in.shape.size() - 1];
    const Matrix first = matrix_of(in, 0);
    const std::optional<int64_t> step = batch_stride(in);
    const bool dense =
        (rows == 1 || first.row_stride == columns) && (columns == 1 || first.col_stride == 1);
    if (step && dense) {
      matrices_ = {first.data, *step};
    } else {
      copy_.emplace(in);
      matrices_ = {copy_->as<char>(), rows * columns};
    }
  }
  operator SmallMatrices() const { return matrices_; }

 private:
  std::optional<RowMajor> copy_;
  SmallMatrices matrices_;
};

SmallProblem small_problem(Triangle triangle, SmallProblem none, SmallProblem lower,
                           SmallProblem upper) {
  if (triangle == Triangle::none) return none;
  return triangle == Triangle::upper ? upper : lower;
}

/// LAPACK's status of the first matrix without an answer, or 0.
int64_t run_small(const Launch& launch, SmallProblem problem, Output& out) {
  const Output& a = launch.in(0);
  const bool two = launch.inputs.size() > 1;
  const SmallOperand left(a);
  SmallBatch batch{problem, out.dtype, MatrixBatch(a.shape).rows, 0, left, {}, out.data};
  if (!two) return run_small(batch, MatrixBatch(a.shape).count);
  const SmallOperand right(launch.in(1));
  batch.columns = MatrixBatch(out.shape).columns;
  batch.b = right;
  return run_small(batch, MatrixBatch(a.shape).count);
}

void require_pivots(int64_t info, const char* operation) {
  require(info == 0, "[{}] the matrix is singular: pivot {} is 0", operation, info - 1);
}
void require_diagonal(int64_t info, const char* operation) {
  require(info == 0, "[{}] the matrix is singular: element {} of its diagonal is 0", operation,
          info - 1);
}
void require_definite(int64_t info) {
  require(info == 0,
          "[linalg.cholesky] the matrix is not positive definite: its leading minor of order {} is "
          "not positive",
          info);
}

template <class T>
void invert(const T* a, int64_t n, T* out, std::vector<int>& pivots, std::vector<T>& work) {
  std::copy(a, a + n * n, out);
  int size = static_cast<int>(n);
  int info = lapack::getrf(size, size, out, size, pivots.data());
  require_pivots(info, "linalg.inv");
  info = lapack::getri(size, out, pivots.data(), work);
  require(info == 0, "[linalg.inv] the matrix is singular");
}

template <class T>
void invert_triangle(const T* a, int64_t n, bool upper, T* out) {
  copy_triangle(a, n, upper, out);
  require_diagonal(lapack::trtri(!upper, static_cast<int>(n), out), "linalg.tri_inv");
}

void run_inverse(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  MatrixBatch batch(out.shape);
  Triangle triangle = launch.attrs<TriangleAttrs>().triangle;
  if (is_small(out.dtype, batch.rows, 0, batch.count)) {
    int64_t info = run_small(launch,
                             small_problem(triangle, SmallProblem::invert,
                                           SmallProblem::invert_lower, SmallProblem::invert_upper),
                             out);
    if (triangle == Triangle::none) return require_pivots(info, "linalg.inv");
    return require_diagonal(info, "linalg.tri_inv");
  }
  RowMajor source(launch.in(0));
  visit_inexact(out.dtype, [&]<class T>(type_tag<T>) {
    const T* a = source.as<T>();
    T* to = pointer<T>(out);
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<int> pivots(batch.rows);
      std::vector<T> work;
      for (int64_t i = begin * batch.each(); i < end * batch.each(); i += batch.each()) {
        if (triangle == Triangle::none) invert(a + i, batch.rows, to + i, pivots, work);
        else invert_triangle(a + i, batch.rows, triangle == Triangle::upper, to + i);
      }
    });
  });
}

void run_cholesky(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  MatrixBatch batch(out.shape);
  bool upper = launch.attrs<TriangleAttrs>().triangle == Triangle::upper;
  if (is_small(out.dtype, batch.rows, 0, batch.count)) {
    return require_definite(run_small(
        launch, upper ? SmallProblem::cholesky_upper : SmallProblem::cholesky_lower, out));
  }
  RowMajor source(launch.in(0));
  visit_inexact(out.dtype, [&]<class T>(type_tag<T>) {
    const T* a = source.as<T>();
    T* to = pointer<T>(out);
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * batch.each(); i < end * batch.each(); i += batch.each()) {
        copy_triangle(a + i, batch.rows, upper, to + i);
        require_definite(cholesky_in_place(to + i, batch.rows, upper));
      }
    });
  });
}

void run_solve(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  MatrixBatch batch(launch.in(0).shape);
  int64_t n = batch.rows;
  int64_t columns = MatrixBatch(out.shape).columns;
  if (is_small(out.dtype, n, columns, batch.count)) {
    return require_pivots(run_small(launch, SmallProblem::solve, out), "linalg.solve");
  }
  RowMajor left(launch.in(0));
  RowMajor right(launch.in(1));
  visit_inexact(out.dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<int> pivots(n);
      std::vector<T> factors(n * n);
      std::vector<T> b(n * columns);
      int size = static_cast<int>(n);
      for (int64_t i = begin; i < end; ++i) {
        const T* a = left.as<T>() + i * n * n;
        std::copy(a, a + n * n, factors.data());
        int info = lapack::getrf(size, size, factors.data(), size, pivots.data());
        require_pivots(info, "linalg.solve");
        transpose_to(right.as<T>() + i * n * columns, n, columns, columns, b.data());
        lapack::getrs(true, size, static_cast<int>(columns), factors.data(), pivots.data(),
                      b.data());
        transpose_to(b.data(), columns, n, n, pointer<T>(out) + i * n * columns);
      }
    });
  });
}

void run_solve_triangular(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  MatrixBatch batch(launch.in(0).shape);
  int64_t n = batch.rows;
  int64_t columns = MatrixBatch(out.shape).columns;
  bool upper = launch.attrs<TriangleAttrs>().triangle == Triangle::upper;
  if (is_small(out.dtype, n, columns, batch.count)) {
    auto problem = upper ? SmallProblem::solve_upper : SmallProblem::solve_lower;
    return require_diagonal(run_small(launch, problem, out), "linalg.solve_triangular");
  }
  RowMajor left(launch.in(0));
  copy_row_major(launch.in(1), out.data);
  visit_inexact(out.dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* a = left.as<T>() + i * n * n;
        for (int64_t j = 0; j < n; ++j) {
          require_diagonal(a[j * (n + 1)] == T() ? j + 1 : 0, "linalg.solve_triangular");
        }
        // x^T a^T = b^T, of which each is what LAPACK sees of x, a and b.
        lapack::trsm_right(!upper, static_cast<int>(columns), static_cast<int>(n), a,
                           static_cast<int>(n), pointer<T>(out) + i * n * columns,
                           static_cast<int>(columns));
      }
    });
  });
}

/// The rows of l @ u in which those of a are: undoes the swaps, from the last one on.
void rows_after_swaps(const uint32_t* pivots, int64_t count, int64_t rows, uint32_t* order) {
  for (int64_t i = 0; i < rows; ++i) order[i] = static_cast<uint32_t>(i);
  for (int64_t i = count - 1; i >= 0; --i) std::swap(order[i], order[pivots[i]]);
}

void run_lu_factor(const Launch& launch) {
  for (int i = 0; i < 3; ++i) allocate(launch.out(i));
  MatrixBatch batch(launch.out().shape);
  int64_t k = batch.least();
  RowMajor source(launch.in(0));
  auto* swaps = pointer<uint32_t>(launch.out(1));
  auto* orders = pointer<uint32_t>(launch.out(2));
  visit_inexact(launch.out().dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<int> pivots(k);
      std::vector<T> factors(batch.each());
      int rows = static_cast<int>(batch.rows);
      for (int64_t i = begin; i < end; ++i) {
        transpose_to(source.as<T>() + i * batch.each(), batch.rows, batch.columns, batch.columns,
                     factors.data());
        // A pivot of 0 is no failure: u has it.
        if (k > 0) {
          lapack::getrf(rows, static_cast<int>(batch.columns), factors.data(), rows, pivots.data());
        }
        transpose_to(factors.data(), batch.columns, batch.rows, batch.rows,
                     pointer<T>(launch.out()) + i * batch.each());
        for (int64_t j = 0; j < k; ++j) swaps[i * k + j] = static_cast<uint32_t>(pivots[j] - 1);
        rows_after_swaps(swaps + i * k, k, batch.rows, orders + i * batch.rows);
      }
    });
  });
}

/// The same for small matrices.
template <class T, class F>
void for_small_factored(const Launch& launch, const MatrixBatch& batch, F&& f) {
  Output diagonals(launch.out().dtype, {batch.count, batch.rows});
  allocate(diagonals);
  run_small(launch, SmallProblem::diagonal, diagonals);
  parallel_for(batch.count, 16384 / batch.rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      f(i, std::span<const T>(pointer<T>(diagonals) + i * batch.rows, batch.rows), false);
    }
  });
}

/// Calls `f(index, diagonal of u, negated)` for each matrix, factored.
template <class T, class F>
void for_factored(const Launch& launch, F&& f) {
  MatrixBatch batch(launch.in(0).shape);
  int64_t n = batch.rows;
  if (is_small(launch.out().dtype, n, 0, batch.count)) {
    return for_small_factored<T>(launch, batch, f);
  }
  RowMajor source(launch.in(0));
  parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
    std::vector<int> pivots(n);
    std::vector<T> factors(n * n);
    int size = static_cast<int>(n);
    for (int64_t i = begin; i < end; ++i) {
      const T* a = source.as<T>() + i * n * n;
      std::copy(a, a + n * n, factors.data());
      if (n > 0) lapack::getrf(size, size, factors.data(), size, pivots.data());
      bool negated = false;
      for (int64_t j = 0; j < n; ++j) {
        negated ^= pivots[j] != j + 1;
        factors[j] = factors[j * (n + 1)];
      }
      f(i, std::span<const T>(factors.data(), n), negated);
    }
  });
}

template <class T>
using Wide = std::conditional_t<lapack::is_complex<T>, std::complex<double>, double>;

void run_det(const Launch& launch) {
  allocate(launch.out());
  visit_inexact(launch.out().dtype, [&]<class T>(type_tag<T>) {
    for_factored<T>(launch, [&](int64_t i, std::span<const T> diagonal, bool negated) {
      Wide<T> product = negated ? -1 : 1;
      for (T x : diagonal) product *= Wide<T>(x);
      pointer<T>(launch.out())[i] = static_cast<T>(product);
    });
  });
}

void run_slogdet(const Launch& launch) {
  allocate(launch.out(0));
  allocate(launch.out(1));
  visit_inexact(launch.out().dtype, [&]<class T>(type_tag<T>) {
    for_factored<T>(launch, [&](int64_t i, std::span<const T> diagonal, bool negated) {
      Wide<T> sign = negated ? -1 : 1;
      double logarithm = 0;
      for (T x : diagonal) {
        double size = std::abs(Wide<T>(x));
        sign *= size == 0 ? Wide<T>(0) : Wide<T>(x) / size;
        logarithm += std::log(size);
      }
      pointer<T>(launch.out(0))[i] = static_cast<T>(sign);
      pointer<lapack::Real<T>>(launch.out(1))[i] = static_cast<lapack::Real<T>>(logarithm);
    });
  });
}

}  // namespace

void add_linalg_kernels() {
  set_cpu_kernel(inverse_op, run_inverse);
  set_cpu_kernel(cholesky_op, run_cholesky);
  set_cpu_kernel(solve_op, run_solve);
  set_cpu_kernel(solve_triangular_op, run_solve_triangular);
  set_cpu_kernel(lu_factor_op, run_lu_factor);
  set_cpu_kernel(det_op, run_det);
  set_cpu_kernel(slogdet_op, run_slogdet);
}

}  // namespace rill
