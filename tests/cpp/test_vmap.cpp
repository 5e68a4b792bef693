// vmap from C++: operations with and without a rule, axes, and its place among other transforms.
#include <gtest/gtest.h>

#include "arrays.h"
#include "rill/ops/batching.h"
#include "rill/rill.h"

namespace rill {
namespace {

using testing::values_of;

Array numbers(const Shape& shape) {
  return reshape(arange(0.0, static_cast<double>(element_count(shape)), 1.0, Dtype::float32),
                 shape);
}

std::vector<float> floats(const Array& array) {
  eval({array});
  return values_of<float>(array);
}

/// Sums its operands, of the same shape, and their differences: without a rule for vmap.
void run_sum_and_difference(const Launch& launch) {
  for (uint32_t i = 0; i < 2; ++i) {
    Output& out = launch.out(i);
    out.place(Buffer::allocate(out.bytes()));
    std::vector<float> a = values_of<float>(launch.inputs[0]);
    std::vector<float> b = values_of<float>(launch.inputs[1]);
    auto* to = reinterpret_cast<float*>(out.data);
    for (size_t k = 0; k < a.size(); ++k) to[k] = i == 0 ? a[k] + b[k] : a[k] - b[k];
  }
}

const OpInfo sum_and_difference_op{.name = "sum_and_difference",
                                   .kernels = {run_sum_and_difference}};

Arrays sum_and_difference(const Arrays& x) {
  Output like(x[0].dtype(), x[0].shape());
  return make_arrays(sum_and_difference_op, to_stream(), {like, like}, {x[0], x[1]});
}

TEST(Vmap, AppliesAnOperationWithoutARuleToEach) {
  Array x = numbers({3, 2});
  Array y = numbers({2});
  Arrays both = vmap(sum_and_difference, {0, std::nullopt})({x, y});
  EXPECT_EQ(both[0].shape(), (Shape{3, 2}));
  EXPECT_EQ(floats(both[0]), (std::vector<float>{0, 2, 2, 4, 4, 6}));
  EXPECT_EQ(floats(both[1]), (std::vector<float>{0, 0, 2, 2, 4, 4}));
}

TEST(Vmap, OfNothingWithoutARuleIsEmpty) {
  Arrays both = vmap(sum_and_difference)({numbers({0, 2}), numbers({0, 2})});
  EXPECT_EQ(both[1].shape(), (Shape{0, 2}));
  EXPECT_TRUE(floats(both[1]).empty());
}

TEST(Vmap, MovesTheAxesThatItIsTold) {
  Array x = numbers({2, 3});
  auto f = [](const Arrays& v) { return Arrays{v[0] * 2, sum(v[0])}; };
  Arrays results = vmap(f, {-1}, {1, 0})({x});
  EXPECT_EQ(floats(results[0]), (std::vector<float>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(floats(results[1]), (std::vector<float>{3, 5, 7}));
}

TEST(Vmap, RefusesAxesThatDoNotFit) {
  auto f = [](const Arrays& v) { return v; };
  Array x = numbers({2, 3});
  EXPECT_THROW(vmap(f, {2})({x}), std::invalid_argument);
  EXPECT_THROW(vmap(f, {0, 1})({x, x}), std::invalid_argument);
  EXPECT_THROW(vmap(f, {0})({x, x}), std::invalid_argument);
  EXPECT_THROW(vmap(f, {std::nullopt})({x}), std::invalid_argument);
  EXPECT_THROW(vmap(f, {0}, {std::nullopt})({x}), std::invalid_argument);
  EXPECT_THROW(vmap(f, {0}, {2})({x}), std::invalid_argument);
}

TEST(Vmap, GoesThroughGradientsAndGradientsThroughIt) {
  Array x = numbers({3, 2});
  auto cubes = [](const Arrays& v) { return Arrays{sum(v[0] * v[0] * v[0])}; };
  std::vector<float> expected = {0, 3, 12, 27, 48, 75};
  EXPECT_EQ(floats(vmap(grad(cubes))({x})[0]), expected);
  auto total = [&](const Arrays& v) { return Arrays{sum(vmap(cubes)(v)[0])}; };
  EXPECT_EQ(floats(grad(total)({x})[0]), expected);
}

TEST(Vmap, LeavesNoNodes) {
  int64_t before = live_nodes();
  {
    Array x = numbers({3, 2});
    Arrays results = vmap(vmap([](const Arrays& v) { return Arrays{exp(v[0])}; }))({x});
    eval(results);
  }
  EXPECT_EQ(live_nodes(), before);
}

TEST(Vmap, ManySystemsAreOneOperation) {
  Array matrices = numbers({7, 3, 3}) + eye(3, 3) * 100;
  auto f = [](const Arrays& v) { return Arrays{linalg::solve(v[0], v[1])}; };
  Arrays results = vmap(f)({matrices, numbers({7, 3})});
  Captured graph({matrices}, results);
  auto systems = std::count_if(graph.nodes().begin(), graph.nodes().end(),
                               [](const Node* node) { return &node->op == &solve_op; });
  EXPECT_EQ(systems, 1);
}

}  // namespace
}  // namespace rill
