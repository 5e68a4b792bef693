// The roots of unity that long transforms turn their parts by.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <numbers>
#include <vector>

namespace rill {

/// exp(-2 pi i k / n), or its conjugate if `inverse`, for 0 <= k < n: products of entries of two
/// tables of about sqrt(n), within 3e-16.
class Roots {
 public:
  Roots(int64_t n, bool inverse) {
    while ((int64_t{1} << (2 * shift_)) < n) ++shift_;
    int64_t size = int64_t{1} << shift_;
    double turn = (inverse ? 2 : -2) * std::numbers::pi / static_cast<double>(n);
    auto root = [&](int64_t k) {
      double angle = turn * static_cast<double>(k);
      return std::complex<double>(std::cos(angle), std::sin(angle));
    };
    for (int64_t k = 0; k < size; ++k) fine_.push_back(root(k));
    for (int64_t k = 0; k * size < n; ++k) coarse_.push_back(root(k * size));
  }

  std::complex<double> operator[](int64_t k) const {
    const auto& a = coarse_[static_cast<size_t>(k >> shift_)];
    const auto& b = fine_[static_cast<size_t>(k & ((int64_t{1} << shift_) - 1))];
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }
  size_t footprint() const { return 16 * (fine_.size() + coarse_.size()); }

 private:
  int shift_ = 0;
  std::vector<std::complex<double>> fine_, coarse_;
};

}  // namespace rill
