// Rill from C++: find_package(rill), target rill::rill, one include.
#include <rill/rill.h>

#include <cstdio>

int main() {
  rill::Array x = rill::arange(4, rill::Dtype::float32);
  rill::Array y = rill::sum(rill::add(rill::multiply(x, x), x));
  rill::eval({y});
  std::printf("sum of x*x + x over [0, 4): %g\n", static_cast<double>(y.item<float>()));
  return y.item<float>() == 20.0f ? 0 : 1;
}
