// Random expressions over all dtypes, which can be built again and again: on other streams, with
// evaluations in between, with or without somebody who holds the intermediate values.
#pragma once

#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.h"
#include "rill/graph/context.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/runtime/eval.h"

namespace rill::testing {

/// A graph as a list of operations on what stands before: leaves first, then one array a step.
class Expression {
 public:
  Expression(uint32_t seed, const Shape& shape, int steps, bool only_elementwise);

  struct Options {
    std::function<Stream(size_t)> stream;  // of a step; the default stream if empty
    std::function<bool(size_t)> eval;      // after a step? never if empty
    std::function<bool(size_t)> hold;      // keep a handle although it is not needed any more?
  };
  /// The evaluated outputs.
  Arrays run(const Options& options) const;

  /// The leaves, and the outputs as a function of them, not evaluated.
  Arrays leaves() const;
  Arrays apply(const Arrays& leaves, const std::function<Stream(size_t)>& stream = {}) const;

  std::string text;  // one line a step

 private:
  struct Step {
    std::function<Array(const Arrays&)> apply;
    std::vector<size_t> operands;
  };
  Array leaf(size_t i) const;
  Step random_elementwise(std::mt19937& random, const Arrays& made, std::string& name) const;
  Step random_step(std::mt19937& random, const Arrays& made, std::string& name) const;
  void choose_outputs(std::mt19937& random);

  struct Leaf {
    Dtype dtype;
    Shape shape;
    uint32_t seed;
  };
  bool only_elementwise_;
  std::vector<Leaf> leaves_;
  std::vector<Step> steps_;
  std::vector<size_t> outputs_;
  std::vector<size_t> last_use_;
};

/// Numbers of every size, with zeros of both signs, infinities and nan for floats.
template <class T>
std::vector<T> any_values(std::mt19937& random, int64_t count) {
  std::vector<T> values = small_values<T>(random, count);
  if constexpr (is_inexact(dtype_of<T>())) {
    constexpr float special[] = {0.0F, -0.0F, INFINITY, -INFINITY, NAN, 1e30F, -1e-30F, 0.5F};
    std::normal_distribution<float> normal;
    for (T& value : values) {
      if (random() % 4 == 0) continue;
      bool odd = random() % 64 == 0;
      value = static_cast<T>(odd ? special[random() % std::size(special)] : normal(random));
    }
  }
  return values;
}

inline Array Expression::leaf(size_t i) const {
  const Leaf& leaf = leaves_[i];
  std::mt19937 random(leaf.seed);
  return visit_type(leaf.dtype, [&]<class T>(type_tag<T>) {
    return in_random_layout<T>(random, leaf.shape,
                               any_values<T>(random, element_count(leaf.shape)));
  });
}

inline Expression::Step Expression::random_elementwise(std::mt19937& random, const Arrays& made,
                                                       std::string& name) const {
  auto any = [&] { return made.size() - 1 - random() % std::min<size_t>(made.size(), 12); };
  switch (random() % 8) {
    case 0: {
      Dtype dtype = all_dtypes[random() % std::size(all_dtypes)];
      name = fmt::format("astype {}", name_of(dtype));
      return {[=](const Arrays& in) { return astype(in[0], dtype); }, {any()}};
    }
    case 1:
      name = "where";
      return {[](const Arrays& in) { return where(in[0], in[1], in[2]); }, {any(), any(), any()}};
    default: {
      std::span<const RowInfo> rows = elementwise_rows();
      size_t number = random() % rows.size();
      Row row{static_cast<uint16_t>(number)};
      name = rows[number].name;
      if (rows[number].kind == RowKind::binary || rows[number].kind == RowKind::compare) {
        return {[=](const Arrays& in) { return elementwise(row, in[0], in[1]); }, {any(), any()}};
      }
      return {[=](const Arrays& in) { return elementwise(row, in[0]); }, {any()}};
    }
  }
}

inline Expression::Step Expression::random_step(std::mt19937& random, const Arrays& made,
                                                std::string& name) const {
  unsigned kind = only_elementwise_ ? 3 : random() % 8;
  if (kind > 2) return random_elementwise(random, made, name);
  size_t operand = made.size() - 1 - random() % std::min<size_t>(made.size(), 12);
  if (kind == 0) {
    name = "with its largest";
    return {[](const Arrays& in) { return maximum(in[0], max(in[0])); }, {operand}};
  }
  if (kind == 1) {
    name = "columns first";
    return {[](const Arrays& in) { return transpose(contiguous(transpose(in[0]))); }, {operand}};
  }
  name = "flip";
  int axis = made[operand].ndim() - 1;
  return {[=](const Arrays& in) { return axis < 0 ? in[0] : flip(in[0], Axes{axis}); }, {operand}};
}

inline Expression::Expression(uint32_t seed, const Shape& shape, int steps, bool only_elementwise)
    : only_elementwise_(only_elementwise) {
  std::mt19937 random(seed);
  Shape row{shape.back()};
  Shape column = shape;
  column.back() = 1;
  Arrays made;
  for (int i = 0; i < 6; ++i) {
    const Shape extents[] = {shape, shape, shape, row, column, Shape{}};
    Dtype dtype = all_dtypes[random() % std::size(all_dtypes)];
    leaves_.push_back({dtype, extents[i], static_cast<uint32_t>(random())});
    made.push_back(leaf(static_cast<size_t>(i)));
    text += fmt::format("%{} = leaf {} {}\n", i, name_of(dtype), extents[i]);
  }
  while (static_cast<int>(steps_.size()) < steps) {
    std::string name;
    Step step = random_step(random, made, name);
    Arrays in;
    for (size_t operand : step.operands) in.push_back(made[operand]);
    try {
      made.push_back(step.apply(in));
    } catch (const std::invalid_argument&) {
      continue;  // not defined for this dtype
    }
    text += fmt::format("%{} = {} %{} -> {}\n", made.size() - 1, name,
                        fmt::join(step.operands, " %"), name_of(made.back().dtype()));
    steps_.push_back(std::move(step));
  }
  choose_outputs(random);
}

inline void Expression::choose_outputs(std::mt19937& random) {
  size_t count = leaves_.size() + steps_.size();
  outputs_ = {count - 1};
  for (size_t i = leaves_.size(); i + 1 < count; ++i) {
    if (random() % 10 == 0) outputs_.push_back(i);
  }
  last_use_.assign(count, 0);
  for (size_t k = 0; k < steps_.size(); ++k) {
    for (size_t operand : steps_[k].operands) last_use_[operand] = leaves_.size() + k;
  }
  for (size_t output : outputs_) last_use_[output] = count;
}

inline Arrays Expression::run(const Options& options) const {
  Arrays made;
  for (size_t i = 0; i < leaves_.size(); ++i) made.push_back(leaf(i));
  for (const Step& step : steps_) {
    size_t number = made.size();
    {
      Arrays in;
      for (size_t operand : step.operands) in.push_back(made[operand]);
      StreamScope scope(options.stream ? StreamOrDevice(options.stream(number)) : StreamOrDevice());
      made.push_back(step.apply(in));
    }
    for (size_t i = 0; i <= number; ++i) {
      if (last_use_[i] == number && !(options.hold && options.hold(i))) made[i] = Array();
    }
    if (made.back() && options.eval && options.eval(number)) eval(made.back());
  }
  Arrays outputs;
  for (size_t output : outputs_) outputs.push_back(made[output]);
  made.clear();
  eval(outputs);
  return outputs;
}

inline Arrays Expression::leaves() const {
  Arrays made;
  for (size_t i = 0; i < leaves_.size(); ++i) made.push_back(leaf(i));
  return made;
}

inline Arrays Expression::apply(const Arrays& leaves,
                                const std::function<Stream(size_t)>& stream) const {
  Arrays made = leaves;
  for (const Step& step : steps_) {
    Arrays in;
    for (size_t operand : step.operands) in.push_back(made[operand]);
    StreamScope scope(stream ? StreamOrDevice(stream(made.size())) : StreamOrDevice());
    made.push_back(step.apply(in));
  }
  Arrays outputs;
  for (size_t output : outputs_) outputs.push_back(made[output]);
  return outputs;
}

/// Empty if both have the same bits (or are nan at the same places), else where they differ.
inline std::string difference(const Arrays& a, const Arrays& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].dtype() != b[i].dtype() || a[i].shape() != b[i].shape()) return "other types";
    std::string text = visit_type(a[i].dtype(), [&]<class T>(type_tag<T>) -> std::string {
      std::vector<T> x = values_of<T>(a[i]);
      std::vector<T> y = values_of<T>(b[i]);
      for (size_t k = 0; k < x.size(); ++k) {
        if (!same(T(x[k]), T(y[k]))) {
          return fmt::format("output {} ({} {}) differs at {}", i, name_of(a[i].dtype()),
                             a[i].shape(), k);
        }
      }
      return "";
    });
    if (!text.empty()) return text;
  }
  return "";
}

}  // namespace rill::testing
