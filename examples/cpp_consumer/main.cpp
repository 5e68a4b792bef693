// Rill from C++: find_package(rill), target rill::rill, one include.
#include <rill/rill.h>

#include <cstdio>

int main() {
  rill::Array x = rill::arange(0.0, 4.0, 1.0, rill::Dtype::float32);
  rill::Stream stream = rill::new_stream(rill::Device{});
  rill::Array y = rill::sum(rill::add(x * x, x, stream));
  auto total = static_cast<double>(rill::item<float>(y));
  std::printf("sum of x*x + x over [0, 4): %g\n", total);
  return total == 20.0 ? 0 : 1;
}
