// Walking strided arrays of one shape together, in row-major order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "rill/base/shape.h"

namespace rill {

/// K arrays of one shape, each with its strides, dimensions that can be walked as one merged.
template <int K>
class Walk {
 public:
  using Offsets = std::array<int64_t, K>;

  /// `strides[k]` points to the strides of array k, as many as the shape has dimensions.
  Walk(const Shape& shape, const std::array<const int64_t*, K>& strides) {
    for (int axis = 0; axis < shape.ssize(); ++axis) {
      if (shape[axis] == 1) continue;
      Dim dim{shape[axis], {}};
      for (int k = 0; k < K; ++k) dim.step[k] = strides[k][axis];
      if (!dims_.empty() && continues(dims_.back(), dim)) {
        dims_.back() = {dims_.back().count * dim.count, dim.step};
      } else {
        dims_.push_back(dim);
      }
    }
    if (dims_.empty()) dims_.push_back({1, {}});
  }

  /// The elements of a run, and how far apart they are in array k.
  int64_t run_length() const { return dims_.back().count; }
  int64_t step(int k) const { return dims_.back().step[k]; }
  bool is_one_run() const { return dims_.size() == 1; }

  /// Calls `f(offsets, count)` for the (parts of) runs that hold elements [begin, end).
  template <class F>
  void for_runs(int64_t begin, int64_t end, F&& f) const {
    if (begin >= end) return;
    const int last = dims_.ssize() - 1;
    SmallVector<int64_t, 6> index(dims_.size());
    Offsets at{};
    int64_t rest = begin;
    for (int i = last; i >= 0; --i) {
      index[i] = rest % dims_[i].count;
      rest /= dims_[i].count;
      move(at, dims_[i], index[i]);
    }
    for (;;) {
      int64_t count = std::min(end - begin, dims_[last].count - index[last]);
      f(at, count);
      begin += count;
      if (begin >= end) return;
      move(at, dims_[last], -index[last]);
      index[last] = 0;
      for (int i = last - 1; i >= 0; --i) {
        move(at, dims_[i], 1);
        if (++index[i] < dims_[i].count) break;
        move(at, dims_[i], -index[i]);
        index[i] = 0;
      }
    }
  }

 private:
  struct Dim {
    int64_t count;
    Offsets step;
  };

  static bool continues(const Dim& outer, const Dim& inner) {
    for (int k = 0; k < K; ++k) {
      if (outer.step[k] != inner.step[k] * inner.count) return false;
    }
    return true;
  }
  static void move(Offsets& at, const Dim& dim, int64_t count) {
    for (int k = 0; k < K; ++k) at[k] += dim.step[k] * count;
  }

  SmallVector<Dim, 6> dims_;
};

}  // namespace rill
