// Exports a function to a file, and calls one from a file: `exported FILE [x]`.
//
// A file written by Python is called in the same way:
//   mx.export_function("f.rill", lambda x: mx.tanh(x @ w), mx.zeros((1, 4)), shapeless=True)
#include <rill/rill.h>

#include <cstdio>
#include <cstdlib>

namespace {

rill::Arrays model(const rill::Arrays& args, const rill::NamedArrays& /*kwargs*/) {
  rill::Array weights = rill::arange(0.0, 8.0, 1.0, rill::Dtype::float32) * 0.25;
  return {rill::tanh(rill::matmul(args[0], rill::reshape(weights, {4, 2})))};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FILE [x]\n", argv[0]);
    return 2;
  }
  rill::export_function(argv[1], model, {rill::zeros({2, 4})}, {}, /*shapeless=*/true);

  rill::ImportedFunction f = rill::import_function(argv[1]);
  std::printf("arguments:%s", f.signatures().c_str());
  double value = argc > 2 ? std::atof(argv[2]) : 0.1;
  rill::Arrays inputs{rill::full({5, 4}, value)};
  rill::Array expected = model(inputs, {})[0];
  rill::Array y = f(inputs)[0];
  std::printf("y[0, 0] = %g for five rows of %g\n",
              static_cast<double>(rill::item<float>(rill::slice(y, {0, 0}, {1, 1}, {1, 1}))),
              value);
  return rill::item<bool>(rill::all(rill::equal(y, expected))) ? 0 : 1;
}
