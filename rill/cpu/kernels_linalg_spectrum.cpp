// QR, singular values and eigenvalues: one LAPACK call a matrix.
#include <limits>

#include "rill/cpu/backend.h"
#include "rill/cpu/gemm.h"
#include "rill/cpu/linalg_batch.h"
#include "rill/ops/linalg.h"

namespace rill {

namespace {

using namespace linalg;
using lapack::Real;

template <class T>
void factor_qr(const T* a, int m, int n, T* q, T* r, std::vector<T>& columns, std::vector<T>& tau,
               std::vector<T>& work) {
  int k = std::min(m, n);
  transpose_to(a, m, n, n, columns.data());
  lapack::geqrf(m, n, columns.data(), tau.data(), work);
  for (int i = 0; i < k; ++i) {
    for (int j = 0; j < n; ++j) {
      r[int64_t{i} * n + j] = j < i ? T() : columns[int64_t{j} * m + i];
    }
  }
  lapack::orgqr(m, k, k, columns.data(), tau.data(), work);
  transpose_to(columns.data(), k, m, m, q);
}

void run_qr(const Launch& launch) {
  allocate(launch.out(0));
  allocate(launch.out(1));
  MatrixBatch batch(launch.in(0).shape);
  int64_t k = batch.least();
  if (k == 0) return;
  RowMajor source(launch.in(0));
  visit_inexact(launch.out().dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<T> columns(batch.each());
      std::vector<T> tau(k);
      std::vector<T> work;
      for (int64_t i = begin; i < end; ++i) {
        factor_qr(source.as<T>() + i * batch.each(), static_cast<int>(batch.rows),
                  static_cast<int>(batch.columns), pointer<T>(launch.out(0)) + i * batch.rows * k,
                  pointer<T>(launch.out(1)) + i * k * batch.columns, columns, tau, work);
      }
    });
  });
}

template <class T>
void write_identity(T* a, int64_t n) {
  std::fill(a, a + n * n, T());
  for (int64_t i = 0; i < n; ++i) a[i * (n + 1)] = T(1);
}

/// What LAPACK is given is a^T = conj(v) s u^T: its u is vt here, read by rows, and its vt is u.
template <class T>
void decompose(const char* operation, char job, const T* a, int64_t m, int64_t n, T* u, Real<T>* s,
               T* vt, std::vector<T>& copy, lapack::Workspace<T>& work) {
  require_finite(operation, a, m * n);
  copy.assign(a, a + m * n);
  int info =
      lapack::gesdd(job, static_cast<int>(n), static_cast<int>(m), copy.data(), s, vt, u, work);
  require(info == 0, "[{}] the singular values did not converge", operation);
}

void run_svd(const Launch& launch) {
  bool vectors = launch.attrs<SpectrumAttrs>().vectors;
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) allocate(launch.out(i));
  MatrixBatch batch(launch.in(0).shape);
  int64_t m = batch.rows;
  int64_t n = batch.columns;
  int64_t k = batch.least();
  RowMajor source(launch.in(0));
  visit_inexact(launch.in(0).dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<T> copy;
      lapack::Workspace<T> work;
      for (int64_t i = begin; i < end; ++i) {
        T* u = vectors ? pointer<T>(launch.out(0)) + i * m * m : nullptr;
        T* vt = vectors ? pointer<T>(launch.out(2)) + i * n * n : nullptr;
        if (k > 0) {
          decompose("linalg.svd", vectors ? 'A' : 'N', source.as<T>() + i * m * n, m, n, u,
                    pointer<Real<T>>(launch.out(vectors ? 1 : 0)) + i * k, vt, copy, work);
        } else if (vectors) {
          write_identity(u, m);
          write_identity(vt, n);
        }
      }
    });
  });
}

/// v s^+ u^H from the factors as `decompose` leaves them: vt of k rows of n, u of m rows of k.
template <class T>
void multiply_inverse(T* u, const Real<T>* s, const T* vt, int64_t m, int64_t n, T* out) {
  int64_t k = std::min(m, n);
  Real<T> least =
      static_cast<Real<T>>(std::max(m, n)) * std::numeric_limits<Real<T>>::epsilon() * s[0];
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < k; ++j) u[i * k + j] *= s[j] > least ? 1 / s[j] : 0;
  }
  gemm({dtype_of<T>(), n, m, k}, {vt, 1, n}, {u, 1, k}, out, m);
  if constexpr (lapack::is_complex<T>) {
    for (int64_t i = 0; i < n * m; ++i) out[i] = std::conj(out[i]);
  }
}

void run_pinv(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  MatrixBatch batch(launch.in(0).shape);
  int64_t m = batch.rows;
  int64_t n = batch.columns;
  int64_t k = batch.least();
  RowMajor source(launch.in(0));
  visit_inexact(out.dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<T> u(m * k);
      std::vector<T> vt(k * n);
      std::vector<Real<T>> s(k);
      std::vector<T> copy;
      lapack::Workspace<T> work;
      for (int64_t i = begin; i < end; ++i) {
        decompose("linalg.pinv", 'S', source.as<T>() + i * m * n, m, n, u.data(), s.data(),
                  vt.data(), copy, work);
        multiply_inverse(u.data(), s.data(), vt.data(), m, n, pointer<T>(out) + i * m * n);
      }
    });
  });
}

void run_eigh(const Launch& launch) {
  SpectrumAttrs attrs = launch.attrs<SpectrumAttrs>();
  bool upper = attrs.triangle == Triangle::upper;
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) allocate(launch.out(i));
  MatrixBatch batch(launch.in(0).shape);
  int64_t n = batch.rows;
  if (n == 0) return;
  RowMajor source(launch.in(0));
  const char* operation = attrs.vectors ? "linalg.eigh" : "linalg.eigvalsh";
  visit_inexact(launch.in(0).dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<T> copy(n * n);
      lapack::Workspace<T> work;
      for (int64_t i = begin; i < end; ++i) {
        copy_triangle(source.as<T>() + i * n * n, n, upper, copy.data());
        require_finite(operation, copy.data(), n * n);
        // LAPACK sees the transpose: the other triangle, and conjugate vectors.
        int info = lapack::heevd(attrs.vectors, !upper, static_cast<int>(n), copy.data(),
                                 pointer<Real<T>>(launch.out(0)) + i * n, work);
        require(info == 0, "[{}] the eigenvalues did not converge", operation);
        if (!attrs.vectors) continue;
        for (T& x : copy) x = lapack::conjugate(x);
        transpose_to(copy.data(), n, n, n, pointer<T>(launch.out(1)) + i * n * n);
      }
    });
  });
}

/// The eigenvectors as columns of a row-major matrix, from geev's columns.
template <class T>
void write_eigenvectors(const T* packed, const std::complex<Real<T>>* values, int64_t n,
                        complex64* out) {
  auto narrow = [](auto x) { return complex64(x); };
  for (int64_t j = 0; j < n; ++j) {
    const T* column = packed + j * n;
    bool pair = !lapack::is_complex<T> && values[j].imag() != 0 && j + 1 < n;
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (!lapack::is_complex<T>) {
        std::complex<T> x(column[i], pair ? column[n + i] : T());
        out[i * n + j] = narrow(x);
        if (pair) out[i * n + j + 1] = narrow(std::conj(x));
      } else {
        out[i * n + j] = column[i];
      }
    }
    j += pair;
  }
}

void run_eig(const Launch& launch) {
  bool vectors = launch.attrs<SpectrumAttrs>().vectors;
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) allocate(launch.out(i));
  MatrixBatch batch(launch.in(0).shape);
  int64_t n = batch.rows;
  if (n == 0) return;
  RowMajor source(launch.in(0));
  const char* operation = vectors ? "linalg.eig" : "linalg.eigvals";
  visit_inexact(launch.in(0).dtype, [&]<class T>(type_tag<T>) {
    parallel_for(batch.count, batch.grain(), [&](int64_t begin, int64_t end) {
      std::vector<T> copy(n * n);
      std::vector<T> packed(vectors ? n * n : 1);
      std::vector<std::complex<Real<T>>> values(n);
      lapack::Workspace<T> work;
      for (int64_t i = begin; i < end; ++i) {
        const T* a = source.as<T>() + i * n * n;
        require_finite(operation, a, n * n);
        transpose_to(a, n, n, n, copy.data());
        int info = lapack::geev(vectors, static_cast<int>(n), copy.data(), values.data(),
                                packed.data(), work);
        require(info == 0, "[{}] the eigenvalues did not converge", operation);
        for (int64_t j = 0; j < n; ++j) {
          pointer<complex64>(launch.out(0))[i * n + j] = complex64(values[j]);
        }
        if (vectors) {
          write_eigenvectors(packed.data(), values.data(), n,
                             pointer<complex64>(launch.out(1)) + i * n * n);
        }
      }
    });
  });
}

}  // namespace

void add_spectrum_kernels() {
  set_cpu_kernel(qr_op, run_qr);
  set_cpu_kernel(svd_op, run_svd);
  set_cpu_kernel(pinv_op, run_pinv);
  set_cpu_kernel(eigh_op, run_eigh);
  set_cpu_kernel(eig_op, run_eig);
}

}  // namespace rill
