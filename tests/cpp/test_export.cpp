// Functions as files and control flow, without Python.
#include <gtest/gtest.h>

#include <unistd.h>
#include <cstdio>

#include <filesystem>

#include "rill/rill.h"

namespace rill {
namespace {

class Exported : public testing::Test {
 protected:
  ~Exported() override { std::filesystem::remove(path_); }
  std::string path_ = std::filesystem::temp_directory_path() /
                      ("rill_test_" + std::to_string(::getpid()) + ".rill");
};

Arrays model(const Arrays& args, const NamedArrays& kwargs) {
  const Array& x = args[0];
  return {tanh(matmul(x, ones({4, 2}) * 0.5)) + kwargs.at("bias"), sum(x)};
}

TEST_F(Exported, ComesBack) {
  Array x = reshape(arange(0.0, 12.0, 1.0, Dtype::float32), {3, 4});
  NamedArrays bias{{"bias", Array(1.0f)}};
  export_function(path_, model, {x}, bias, false, "about");
  ImportedFunction f = import_function(path_);
  EXPECT_EQ(f.metadata(), "about");
  Arrays results = f({x}, bias);
  Arrays expected = model({x}, bias);
  ASSERT_EQ(results.size(), expected.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(item<bool>(all(equal(results[i], expected[i]))));
  }
  EXPECT_THROW(f({x}), std::invalid_argument);
  EXPECT_THROW(f({x * 1.0, x}, bias), std::invalid_argument);
}

TEST_F(Exported, KeepsSizesFreeThatDoNotMatter) {
  NamedArrays bias{{"bias", Array(1.0f)}};
  export_function(path_, model, {zeros({3, 4})}, bias, true);
  ImportedFunction f = import_function(path_);
  EXPECT_EQ(f({ones({7, 4})}, bias)[0].shape(), (Shape{7, 2}));
  EXPECT_THROW(f({ones({7, 5})}, bias), std::invalid_argument);
}

TEST_F(Exported, RefusesTheSameSignatureTwice) {
  FunctionExporter exporter(path_, model);
  NamedArrays bias{{"bias", Array(1.0f)}};
  exporter.add({ones({1, 4})}, bias);
  EXPECT_THROW(exporter.add({zeros({1, 4})}, bias), std::runtime_error);
  exporter.add({ones({2, 4})}, bias);
  exporter.close();
  EXPECT_THROW(exporter.add({ones({5, 4})}, bias), std::runtime_error);
}

TEST(Import, RefusesWhatIsNoFile) {
  EXPECT_THROW(import_function("/nowhere/at.all"), std::runtime_error);
  EXPECT_THROW(import_bytes("RILLFUNC"), std::runtime_error);
}

TEST(Control, ScansAndDifferentiates) {
  auto total = [](const Arrays& args) {
    auto body = [&](const Arrays& carry, const Arrays& at) {
      return control::Carried{{carry[0] * args[0] + at[0]}, {carry[0]}};
    };
    return control::scan(body, {Array(1.0f)}, {ones({3})}).carry;
  };
  // ((a + 1) a + 1) a + 1 at a = 2, and its derivative
  auto [value, gradient] = value_and_grad(total)({Array(2.0f)});
  EXPECT_EQ(item<float>(value[0]), 15.0f);
  EXPECT_EQ(item<float>(gradient[0]), 17.0f);
}

TEST(Control, LoopsWhile) {
  auto small = [](const Arrays& s) { return Arrays{s[0] < Array(100)}; };
  auto twice = [](const Arrays& s) { return Arrays{s[0] + s[0]}; };
  EXPECT_EQ(item<int>(control::while_loop(small, twice, {Array(1)})[0]), 128);
}

TEST(Custom, UsesItsRules) {
  CustomRules rules;
  rules.vjp = [](const Arrays&, const Arrays& cotangents, const Arrays&) {
    return Arrays{cotangents[0] * 7.0};
  };
  ArrayFunction f = custom_function([](const Arrays& x) { return Arrays{exp(x[0])}; }, rules);
  EXPECT_EQ(item<float>(grad(f)({Array(0.0f)})[0]), 7.0f);
  EXPECT_EQ(item<float>(f({Array(0.0f)})[0]), 1.0f);
}

}  // namespace
}  // namespace rill
