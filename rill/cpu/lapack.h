// LAPACK by element type: float, double, complex64. Matrices are column-major. Each function
// returns LAPACK's `info`: 0, or positive where the matrix has no answer.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "rill/base/half.h"
#include "rill/base/require.h"
#include "rill/cpu/gemm_openblas.h"

namespace rill::lapack {

template <class T>
inline constexpr bool is_complex = std::is_same_v<T, complex64>;
template <class T>
using Real = std::conditional_t<is_complex<T>, float, T>;

template <class T>
T conjugate(T x) {
  if constexpr (is_complex<T>) return std::conj(x);
  else return x;
}

/// The function of a type: "potrf" is spotrf_, dpotrf_ or cpotrf_.
template <class T, class Function>
Function* routine(const char* stem) {
  const char* prefix = is_complex<T> ? "c" : sizeof(T) == 8 ? "d" : "s";
  return openblas<Function>((prefix + std::string(stem) + "_").c_str());
}

/// The status, of which a negative one says that an argument was wrong.
inline int checked(const char* stem, int info) {
  require<std::runtime_error>(info >= 0, "[lapack] {} refused argument {}", stem, -info);
  return info;
}

/// A workspace size, as a query answers it in the element type: never rounded down.
template <class T>
int queried_size(const T& answer) {
  Real<T> size = std::real(answer);
  require(size < Real<T>(INT32_MAX), "[linalg] the matrix needs a workspace of {} elements",
          static_cast<double>(size));
  return static_cast<int>(std::nextafter(size, Real<T>(INT32_MAX))) + 1;
}

template <class T>
int getrf(int m, int n, T* a, int lda, int* pivots) {
  static auto* f = routine<T, void(const int*, const int*, T*, const int*, int*, int*)>("getrf");
  int info = 0;
  f(&m, &n, a, &lda, pivots, &info);
  return checked("getrf", info);
}

/// The inverse from getrf's factors. `work` is resized as needed.
template <class T>
int getri(int n, T* a, const int* pivots, std::vector<T>& work) {
  static auto* f =
      routine<T, void(const int*, T*, const int*, const int*, T*, const int*, int*)>("getri");
  int info = 0;
  if (work.empty()) {
    T answer{};
    int query = -1;
    f(&n, a, &n, pivots, &answer, &query, &info);
    work.resize(queried_size(answer));
  }
  int size = static_cast<int>(work.size());
  f(&n, a, &n, pivots, work.data(), &size, &info);
  return checked("getri", info);
}

/// b = a^-1 b, or a^-T b if `transposed`, from getrf's factors.
template <class T>
int getrs(bool transposed, int n, int columns, const T* a, const int* pivots, T* b) {
  static auto* f = routine<T, void(const char*, const int*, const int*, const T*, const int*,
                                   const int*, T*, const int*, int*, size_t)>("getrs");
  int info = 0;
  f(transposed ? "T" : "N", &n, &columns, a, &n, pivots, b, &n, &info, 1);
  return checked("getrs", info);
}

template <class T>
int trtri(bool upper, int n, T* a) {
  static auto* f =
      routine<T, void(const char*, const char*, const int*, T*, const int*, int*, size_t, size_t)>(
          "trtri");
  int info = 0;
  f(upper ? "U" : "L", "N", &n, a, &n, &info, 1, 1);
  return checked("trtri", info);
}

/// b = b a^-1 for a triangular n x n matrix; b has `rows` rows.
template <class T>
void trsm_right(bool upper, int rows, int n, const T* a, int lda, T* b, int ldb) {
  static auto* f = routine<T, void(const char*, const char*, const char*, const char*, const int*,
                                   const int*, const T*, const T*, const int*, T*, const int*,
                                   size_t, size_t, size_t, size_t)>("trsm");
  T one(1);
  f("R", upper ? "U" : "L", "N", "N", &rows, &n, &one, a, &lda, b, &ldb, 1, 1, 1, 1);
}

/// b = a^-H b for an upper triangular n x n matrix; b has `columns` columns.
template <class T>
void trsm_left_adjoint(int n, int columns, const T* a, int lda, T* b, int ldb) {
  static auto* f = routine<T, void(const char*, const char*, const char*, const char*, const int*,
                                   const int*, const T*, const T*, const int*, T*, const int*,
                                   size_t, size_t, size_t, size_t)>("trsm");
  T one(1);
  f("L", "U", "C", "N", &n, &columns, &one, a, &lda, b, &ldb, 1, 1, 1, 1);
}

/// c -= a^H b for a of k x m, b of k x n, c of m x n, all of one leading dimension.
template <class T>
void subtract_products(int m, int n, int k, const T* a, const T* b, int ld, T* c) {
  static auto* f = routine<T, void(const char*, const char*, const int*, const int*, const int*,
                                   const T*, const T*, const int*, const T*, const int*, const T*,
                                   T*, const int*, size_t, size_t)>("gemm");
  T one(1);
  T minus(-1);
  f("C", "N", &m, &n, &k, &minus, a, &ld, b, &ld, &one, c, &ld, 1, 1);
}

template <class T>
int potrf(bool upper, int n, T* a, int lda) {
  static auto* f = routine<T, void(const char*, const int*, T*, const int*, int*, size_t)>("potrf");
  int info = 0;
  f(upper ? "U" : "L", &n, a, &lda, &info, 1);
  return checked("potrf", info);
}

template <class T>
void geqrf(int m, int n, T* a, T* tau, std::vector<T>& work) {
  static auto* f =
      routine<T, void(const int*, const int*, T*, const int*, T*, T*, const int*, int*)>("geqrf");
  int info = 0;
  T answer{};
  int size = -1;
  f(&m, &n, a, &m, tau, &answer, &size, &info);
  size = queried_size(answer);
  if (work.size() < static_cast<size_t>(size)) work.resize(size);
  f(&m, &n, a, &m, tau, work.data(), &size, &info);
  checked("geqrf", info);
}

/// The first `n` columns of q, from geqrf's `k` reflectors.
template <class T>
void orgqr(int m, int n, int k, T* a, const T* tau, std::vector<T>& work) {
  static auto* f = routine<T, void(const int*, const int*, const int*, T*, const int*, const T*, T*,
                                   const int*, int*)>(is_complex<T> ? "ungqr" : "orgqr");
  int info = 0;
  T answer{};
  int size = -1;
  f(&m, &n, &k, a, &m, tau, &answer, &size, &info);
  size = queried_size(answer);
  if (work.size() < static_cast<size_t>(size)) work.resize(size);
  f(&m, &n, &k, a, &m, tau, work.data(), &size, &info);
  checked("orgqr", info);
}

/// What a solver of spectra works in; kept from matrix to matrix of one shape.
template <class T>
struct Workspace {
  std::vector<T> main;
  std::vector<Real<T>> real;
  std::vector<int> integer;
};

/// `job`: A all vectors, S min(m, n) of them, N none. Overwrites a.
template <class T>
int gesdd(char job, int m, int n, T* a, Real<T>* s, T* u, T* vt, Workspace<T>& work) {
  using Integer = const int*;
  int k = std::min(m, n);
  int ldvt = job == 'S' ? k : n;
  int info = 0;
  auto call = [&](T* memory, int size) {
    if constexpr (is_complex<T>) {
      static auto* f =
          routine<T, void(const char*, Integer, Integer, T*, Integer, Real<T>*, T*, Integer, T*,
                          Integer, T*, Integer, Real<T>*, int*, int*, size_t)>("gesdd");
      f(&job, &m, &n, a, &m, s, u, &m, vt, &ldvt, memory, &size, work.real.data(),
        work.integer.data(), &info, 1);
    } else {
      static auto* f = routine<T, void(const char*, Integer, Integer, T*, Integer, T*, T*, Integer,
                                       T*, Integer, T*, Integer, int*, int*, size_t)>("gesdd");
      f(&job, &m, &n, a, &m, s, u, &m, vt, &ldvt, memory, &size, work.integer.data(), &info, 1);
    }
  };
  if (work.main.empty()) {
    work.integer.resize(8 * static_cast<size_t>(k));
    size_t small = k;
    size_t large = std::max(m, n);
    if (is_complex<T>) work.real.resize(7 * small + 2 * small * large + 5 * small * small);
    T answer{};
    call(&answer, -1);
    work.main.resize(queried_size(answer));
  }
  call(work.main.data(), static_cast<int>(work.main.size()));
  return checked("gesdd", info);
}

/// Ascending eigenvalues; eigenvectors replace a if `vectors`.
template <class T>
int heevd(bool vectors, bool upper, int n, T* a, Real<T>* values, Workspace<T>& work) {
  using Integer = const int*;
  int info = 0;
  auto call = [&](T* main, int main_size, Real<T>* real, int real_size, int* integer,
                  int integer_size) {
    const char* job = vectors ? "V" : "N";
    const char* triangle = upper ? "U" : "L";
    if constexpr (is_complex<T>) {
      static auto* f =
          routine<T, void(const char*, const char*, Integer, T*, Integer, Real<T>*, T*, Integer,
                          Real<T>*, Integer, int*, Integer, int*, size_t, size_t)>("heevd");
      f(job, triangle, &n, a, &n, values, main, &main_size, real, &real_size, integer,
        &integer_size, &info, 1, 1);
    } else {
      static auto* f = routine<T, void(const char*, const char*, Integer, T*, Integer, T*, T*,
                                       Integer, int*, Integer, int*, size_t, size_t)>("syevd");
      f(job, triangle, &n, a, &n, values, main, &main_size, integer, &integer_size, &info, 1, 1);
    }
  };
  if (work.main.empty()) {
    T main{};
    Real<T> real{};
    int integer = 0;
    call(&main, -1, &real, -1, &integer, -1);
    work.main.resize(queried_size(main));
    if (is_complex<T>) work.real.resize(queried_size(real));
    work.integer.resize(std::max(1, integer));
  }
  call(work.main.data(), static_cast<int>(work.main.size()), work.real.data(),
       static_cast<int>(work.real.size()), work.integer.data(),
       static_cast<int>(work.integer.size()));
  return checked("syevd", info);
}

/// Eigenvalues and, if `vectors`, right eigenvectors. Of a real matrix, a pair of columns holds the
/// real and imaginary part of the vector of values[j] and (conjugated) of values[j + 1].
template <class T>
int geev(bool vectors, int n, T* a, std::complex<Real<T>>* values, T* vr, Workspace<T>& work) {
  using Integer = const int*;
  int info = 0;
  const char* job = vectors ? "V" : "N";
  T* none = nullptr;
  work.real.resize(2 * static_cast<size_t>(n));
  auto call = [&](T* memory, int size) {
    if constexpr (is_complex<T>) {
      static auto* f =
          routine<T, void(const char*, const char*, Integer, T*, Integer, T*, T*, Integer, T*,
                          Integer, T*, Integer, Real<T>*, int*, size_t, size_t)>("geev");
      f("N", job, &n, a, &n, values, none, &n, vr, &n, memory, &size, work.real.data(), &info, 1,
        1);
    } else {
      static auto* f =
          routine<T, void(const char*, const char*, Integer, T*, Integer, T*, T*, T*, Integer, T*,
                          Integer, T*, Integer, int*, size_t, size_t)>("geev");
      f("N", job, &n, a, &n, work.real.data(), work.real.data() + n, none, &n, vr, &n, memory,
        &size, &info, 1, 1);
    }
  };
  if (work.main.empty()) {
    T answer{};
    call(&answer, -1);
    work.main.resize(queried_size(answer));
  }
  call(work.main.data(), static_cast<int>(work.main.size()));
  if constexpr (!is_complex<T>) {
    for (int i = 0; i < n; ++i) values[i] = {work.real[i], work.real[n + i]};
  }
  return checked("geev", info);
}

}  // namespace rill::lapack
