// Elimination, substitution and Cholesky factors of small matrices, one in each lane. The matrices
// of a group lie interleaved in memory that stays in the first cache.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/linalg_small.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/lane_numbers-inl.h"
#include "rill/cpu/linalg_small.h"
#include "rill/runtime/parallel.h"

#ifndef RILL_CPU_LINALG_SMALL_LIMITS
#define RILL_CPU_LINALG_SMALL_LIMITS
namespace rill::linalg {

constexpr int64_t most_rows = 32;
constexpr int64_t most_columns = 32;

/// What a range of matrices came to: the first one without an answer, and why.
struct SmallFailure {
  int64_t matrix = INT64_MAX;
  int64_t order = 0;
};

}  // namespace rill::linalg
#endif

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using linalg::SmallBatch;
using linalg::SmallFailure;
// clang-tidy does not see the uses in functions of one target: NOLINTBEGIN(misc-unused-using-decls)
using linalg::SmallMatrices;
using linalg::SmallProblem;
// NOLINTEND(misc-unused-using-decls)

#if HWY_TARGET != HWY_SCALAR

/// The matrices of a group: element (i, j) of all of them.
template <class N>
struct Interleaved {
  typename N::Part* data;
  int64_t columns;

  typename N::Part* at(int64_t i, int64_t j) const { return data + (i * columns + j) * N::size; }
};

template <class N>
struct Group {
  int64_t n;
  Interleaved<N> a, b;
};

/// For each lane the first order that failed, or 0.
template <class N>
struct Failures {
  typename N::V first;

  HWY_INLINE void note(typename N::M failed, int64_t order) {
    const auto value = hn::Set(N::d, static_cast<typename N::Part>(order));
    first = hn::IfThenElse(hn::And(failed, hn::Eq(first, hn::Zero(N::d))), value, first);
  }
};

/// The rows that the lanes exchange with row k: `chosen[i]` has the lanes that take row i, of which
/// then `factors[i]` times row k is subtracted.
template <class N>
struct Exchange {
  typename N::M chosen[linalg::most_rows];
  typename N::Number factors[linalg::most_rows];
  typename N::M none;  // the lanes that keep row k
  typename N::M zero;  // those of which the whole column is 0
};

/// Partial pivoting: the first of the largest elements. What is not a number is never chosen.
template <class N>
HWY_INLINE void ChoosePivots(int64_t n, Interleaved<N> a, int64_t k, Exchange<N>& exchange) {
  using Part = typename N::Part;
  auto best = N::Magnitude(N::Load(a.at(k, k)));
  auto sum = best;
  auto row = hn::Set(N::d, static_cast<Part>(k));
  for (int64_t i = k + 1; i < n; ++i) {
    const auto size = N::Magnitude(N::Load(a.at(i, k)));
    const auto larger = hn::Gt(size, best);
    best = hn::IfThenElse(larger, size, best);
    row = hn::IfThenElse(larger, hn::Set(N::d, static_cast<Part>(i)), row);
    sum = hn::Add(sum, size);
  }
  for (int64_t i = k + 1; i < n; ++i) {
    exchange.chosen[i] = hn::Eq(row, hn::Set(N::d, static_cast<Part>(i)));
  }
  exchange.none = hn::Eq(row, hn::Set(N::d, static_cast<Part>(k)));
  exchange.zero = hn::Eq(sum, hn::Zero(N::d));
}

/// What comes to row k by the exchange, in `count` columns from column j on. Nothing moves yet.
template <int count, class N>
HWY_INLINE void TakePivots(int64_t n, Interleaved<N> x, int64_t k, int64_t j,
                           const Exchange<N>& exchange, typename N::Number (&pivots)[count]) {
  RILL_UNROLL(4)
  for (int c = 0; c < count; ++c) pivots[c] = N::Load(x.at(k, j + c));
  for (int64_t i = k + 1; i < n; ++i) {
    const auto chosen = exchange.chosen[i];
    RILL_UNROLL(4)
    for (int c = 0; c < count; ++c) {
      pivots[c] = N::Select(chosen, N::Load(x.at(i, j + c)), pivots[c]);
    }
  }
}

/// Exchanges rows and eliminates, in `count` columns from column j on.
template <int count, class N>
HWY_INLINE void EliminateColumns(int64_t n, Interleaved<N> x, int64_t k, int64_t j,
                                 const Exchange<N>& exchange) {
  typename N::Number pivots[count];
  TakePivots(n, x, k, j, exchange, pivots);
  typename N::Number old[count];
  RILL_UNROLL(4)
  for (int c = 0; c < count; ++c) {
    old[c] = N::Load(x.at(k, j + c));
    N::Store(pivots[c], x.at(k, j + c));
  }
  for (int64_t i = k + 1; i < n; ++i) {
    const auto chosen = exchange.chosen[i];
    const auto factor = exchange.factors[i];
    RILL_UNROLL(4)
    for (int c = 0; c < count; ++c) {
      const auto own = N::Select(chosen, old[c], N::Load(x.at(i, j + c)));
      N::Store(N::MinusProduct(own, factor, pivots[c]), x.at(i, j + c));
    }
  }
}

template <class N>
HWY_INLINE void EliminateFrom(int64_t n, Interleaved<N> x, int64_t k, int64_t from,
                              const Exchange<N>& exchange) {
  int64_t j = from;
  for (; j + 4 <= x.columns; j += 4) EliminateColumns<4>(n, x, k, j, exchange);
  for (; j < x.columns; ++j) EliminateColumns<1>(n, x, k, j, exchange);
}

/// The exchange in column k, and by which factors its elements are eliminated.
template <class N>
HWY_INLINE void FindFactors(int64_t n, Interleaved<N> a, int64_t k, Exchange<N>& exchange) {
  const auto old = N::Load(a.at(k, k));
  typename N::Number pivot[1];
  TakePivots(n, a, k, k, exchange, pivot);
  N::Store(pivot[0], a.at(k, k));
  // Below a pivot of 0 is nothing to be eliminated: the factors are 0 / 1.
  const auto divisor = N::DivisorFor(N::Select(exchange.zero, N::One(), pivot[0]));
  for (int64_t i = k + 1; i < n; ++i) {
    const auto own = N::Select(exchange.chosen[i], old, N::Load(a.at(i, k)));
    exchange.factors[i] = N::Divided(own, divisor);
  }
}

/// Leaves u of p a = l u in the upper triangle of a, l^-1 p b in b. Returns the sign of p.
template <class N>
typename N::V Eliminate(Group<N> g, Failures<N>& failures) {
  auto sign = hn::Set(N::d, 1);
  Exchange<N> exchange;
  for (int64_t k = 0; k < g.n; ++k) {
    ChoosePivots(g.n, g.a, k, exchange);
    failures.note(exchange.zero, k + 1);
    sign = hn::IfThenElse(exchange.none, sign, hn::Neg(sign));
    FindFactors(g.n, g.a, k, exchange);
    EliminateFrom(g.n, g.a, k, k + 1, exchange);
    EliminateFrom(g.n, g.b, k, 0, exchange);
  }
  return sign;
}

/// Subtracts multiples of row k of x from rows [begin, end), in `count` columns from column j on.
template <int count, class N>
HWY_INLINE void SubtractRow(Interleaved<N> a, Interleaved<N> x, int64_t k, int64_t begin,
                            int64_t end, int64_t j) {
  typename N::Number row[count];
  RILL_UNROLL(4)
  for (int c = 0; c < count; ++c) row[c] = N::Load(x.at(k, j + c));
  for (int64_t i = begin; i < end; ++i) {
    const auto factor = N::Load(a.at(i, k));
    RILL_UNROLL(4)
    for (int c = 0; c < count; ++c) {
      const auto old = N::Load(x.at(i, j + c));
      N::Store(N::MinusProduct(old, factor, row[c]), x.at(i, j + c));
    }
  }
}

/// x of a x = b in place of b, for one triangle of a. If b is `unit`, only that triangle of x is
/// computed, the other one stays 0.
template <class N>
void Substitute(Group<N> g, bool upper, bool unit) {
  for (int64_t step = 0; step < g.n; ++step) {
    const int64_t k = upper ? g.n - 1 - step : step;
    const int64_t from = unit && upper ? k : 0;
    const int64_t to = unit && !upper ? k + 1 : g.b.columns;
    const auto divisor = N::DivisorFor(N::Load(g.a.at(k, k)));
    for (int64_t j = from; j < to; ++j) {
      N::Store(N::Divided(N::Load(g.b.at(k, j)), divisor), g.b.at(k, j));
    }
    const int64_t begin = upper ? 0 : k + 1;
    const int64_t end = upper ? k : g.n;
    int64_t j = from;
    for (; j + 4 <= to; j += 4) SubtractRow<4>(g.a, g.b, k, begin, end, j);
    for (; j < to; ++j) SubtractRow<1>(g.a, g.b, k, begin, end, j);
  }
}

template <class N>
void NoteZeroDiagonal(Group<N> g, Failures<N>& failures) {
  for (int64_t k = 0; k < g.n; ++k) {
    failures.note(hn::Eq(N::Magnitude(N::Load(g.a.at(k, k))), hn::Zero(N::d)), k + 1);
  }
}

template <class N>
void MakeUnit(Group<N> g) {
  for (int64_t i = 0; i < g.n; ++i) {
    for (int64_t j = 0; j < g.n; ++j) N::Store(i == j ? N::One() : N::Zero(), g.b.at(i, j));
  }
}

/// The factor in place of a, zeros in the other triangle. Read as lower triangles, those above are
/// conjugates, and so is what becomes of them.
template <class N>
void FactorCholesky(Group<N> g, bool upper, Failures<N>& failures) {
  const auto at = [&](int64_t i, int64_t j)
                      HWY_ATTR { return upper ? g.a.at(j, i) : g.a.at(i, j); };
  for (int64_t j = 0; j < g.n; ++j) {
    auto reciprocal = hn::Zero(N::d);
    for (int64_t i = j; i < g.n; ++i) {
      auto x = N::Load(at(i, j));
      for (int64_t p = 0; p < j; ++p) {
        x = N::MinusProduct(x, N::Load(at(i, p)), N::Conjugate(N::Load(at(j, p))));
      }
      if (i == j) {
        const auto square = N::Real(x);
        failures.note(hn::Not(hn::Gt(square, hn::Zero(N::d))), j + 1);
        const auto root = hn::Sqrt(square);
        reciprocal = hn::Div(hn::Set(N::d, 1), root);
        N::Store(N::OfReal(root), at(j, j));
      } else {
        N::Store(N::TimesReal(x, reciprocal), at(i, j));
        N::Store(N::Zero(), at(j, i));
      }
    }
  }
}

/// The diagonal of u into the first row of a, the sign of p with its first element.
template <class N>
void TakeDiagonal(Group<N> g, typename N::V sign) {
  N::Store(N::TimesReal(N::Load(g.a.at(0, 0)), sign), g.a.at(0, 0));
  for (int64_t k = 1; k < g.n; ++k) N::Store(N::Load(g.a.at(k, k)), g.a.at(0, k));
}

bool HasRightSide(SmallProblem problem) {
  return problem == SmallProblem::solve || problem == SmallProblem::solve_lower ||
         problem == SmallProblem::solve_upper;
}
bool HasUnitSide(SmallProblem problem) {
  return problem == SmallProblem::invert || problem == SmallProblem::invert_lower ||
         problem == SmallProblem::invert_upper;
}

template <class N>
void Compute(Group<N> g, SmallProblem problem, Failures<N>& failures) {
  const bool unit = HasUnitSide(problem);
  if (unit) MakeUnit(g);
  switch (problem) {
    case SmallProblem::solve:
    case SmallProblem::invert: Eliminate(g, failures); return Substitute(g, true, false);
    case SmallProblem::solve_lower:
    case SmallProblem::invert_lower:
      NoteZeroDiagonal(g, failures);
      return Substitute(g, false, unit);
    case SmallProblem::solve_upper:
    case SmallProblem::invert_upper:
      NoteZeroDiagonal(g, failures);
      return Substitute(g, true, unit);
    case SmallProblem::cholesky_lower: return FactorCholesky(g, false, failures);
    case SmallProblem::cholesky_upper: return FactorCholesky(g, true, failures);
    case SmallProblem::diagonal: {
      Failures<N> none{hn::Zero(N::d)};
      return TakeDiagonal(g, Eliminate(g, none));
    }
  }
}

/// The matrices of a range, group by group.
template <class N>
class Groups {
 public:
  explicit Groups(const SmallBatch& batch)
      : batch_(batch),
        n_(batch.n),
        columns_(HasRightSide(batch.problem)  ? batch.columns
                 : HasUnitSide(batch.problem) ? n_
                                              : 0),
        memory_(static_cast<size_t>(n_ * (n_ + columns_) + n_ * std::max(n_, columns_)) * N::size *
                sizeof(Part)) {
    auto* data = memory_.template as<Part>();
    const auto take = [&](int64_t rows, int64_t columns) {
      return Interleaved<N>{std::exchange(data, data + rows * columns * N::size), columns};
    };
    group_ = {n_, take(n_, n_), take(n_, columns_)};
    spare_ = data;
  }

  SmallFailure run(int64_t begin, int64_t end) {
    SmallFailure failure;
    for (int64_t first = begin; first < end; first += N::lanes) {
      const int64_t count = std::min(N::lanes, end - first);
      Failures<N> failures{hn::Zero(N::d)};
      gather(batch_.a, first, count, group_.a.data, n_ * n_);
      if (HasRightSide(batch_.problem))
        gather(batch_.b, first, count, group_.b.data, n_ * columns_);
      Compute(group_, batch_.problem, failures);
      if (!hn::AllTrue(N::d, hn::Eq(failures.first, hn::Zero(N::d)))) {
        return first_of(failures, first);
      }
      scatter(first, count);
    }
    return failure;
  }

 private:
  using Part = typename N::Part;
  static constexpr int64_t parts = N::size / N::lanes;

  /// The lanes behind `count` repeat the last matrix.
  void gather(const SmallMatrices& from, int64_t first, int64_t count, Part* to,
              int64_t elements) const {
    const Part* each[N::lanes];
    for (int64_t lane = 0; lane < N::lanes; ++lane) {
      int64_t matrix = first + std::min(lane, count - 1);
      each[lane] = static_cast<const Part*>(from.data) + matrix * from.step * parts;
    }
    GatherLanes(N::d, each, elements * parts, to);
  }

  void scatter(int64_t first, int64_t count) const {
    const bool diagonal = batch_.problem == SmallProblem::diagonal;
    const int64_t elements = (diagonal ? n_ : n_ * (columns_ > 0 ? columns_ : n_)) * parts;
    Part* each[N::lanes];
    for (int64_t lane = 0; lane < N::lanes; ++lane) {
      each[lane] =
          lane < count ? static_cast<Part*>(batch_.out) + (first + lane) * elements : spare_;
    }
    ScatterLanes(N::d, columns_ > 0 ? group_.b.data : group_.a.data, elements, each);
  }

  static SmallFailure first_of(const Failures<N>& failures, int64_t first) {
    HWY_ALIGN Part orders[N::lanes];
    hn::Store(failures.first, N::d, orders);
    int64_t lane = 0;
    while (orders[lane] == 0) ++lane;
    return {first + lane, static_cast<int64_t>(orders[lane])};
  }

  const SmallBatch& batch_;
  int64_t n_;
  int64_t columns_;
  Scratch memory_;
  Group<N> group_;
  Part* spare_;  // for the results of lanes without a matrix
};

int64_t GroupLanes(Dtype dtype) {
  return dtype == Dtype::float64 ? RealLanes<double>::lanes : RealLanes<float>::lanes;
}

SmallFailure RunSmall(const SmallBatch& batch, int64_t begin, int64_t end) {
  if (batch.dtype == Dtype::float64) return Groups<RealLanes<double>>(batch).run(begin, end);
  if (batch.dtype == Dtype::float32) return Groups<RealLanes<float>>(batch).run(begin, end);
  return Groups<ComplexLanes<float>>(batch).run(begin, end);
}

#else

int64_t GroupLanes(Dtype) { return 0; }
SmallFailure RunSmall(const SmallBatch&, int64_t, int64_t) { return {}; }

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(GroupLanes);
HWY_EXPORT(RunSmall);

namespace linalg {

namespace {

int64_t group_lanes(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(GroupLanes)(dtype); }

}  // namespace

// A few matrices leave most lanes idle. On a Zen 5, two of 16 x 16 or four of 32 x 32 take as long
// as their LAPACK calls.
bool is_small(Dtype dtype, int64_t n, int64_t columns, int64_t count) {
  return n > 0 && n <= std::min(most_rows, 8 * count) && columns <= most_columns &&
         group_lanes(dtype) > 0;
}

int64_t run_small(const SmallBatch& batch, int64_t count) {
  const int64_t lanes = group_lanes(batch.dtype);
  // Of operations on vectors: about 25 microseconds.
  constexpr int64_t task_operations = 50000;
  const int64_t each = batch.n * batch.n * (batch.n + batch.columns + 8);
  const int64_t grain = std::max<int64_t>(1, task_operations / each) * lanes;
  std::atomic<int64_t> failed{INT64_MAX};
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    SmallFailure failure = HWY_DYNAMIC_DISPATCH(RunSmall)(batch, begin, end);
    if (failure.order == 0) return;
    int64_t code = failure.matrix * (most_rows + 1) + failure.order;
    int64_t old = failed.load();
    while (code < old && !failed.compare_exchange_weak(old, code)) {
    }
  });
  return failed.load() == INT64_MAX ? 0 : failed.load() % (most_rows + 1);
}

}  // namespace linalg
}  // namespace rill
#endif
