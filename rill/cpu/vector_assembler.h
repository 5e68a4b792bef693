// Vectors of floats as instructions: an assembler that knows how halves are loaded, rounded and
// stored, with AVX2 or AVX-512.
#pragma once

#include <xbyak/xbyak.h>

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill {

/// Registers from of_values() on are left alone by whoever else writes code: they are for numbers
/// that an instruction can't read as they are, and for constants.
class VectorAssembler : protected Xbyak::CodeGenerator {
 protected:
  using Vector = Xbyak::Ymm;  // or Zmm, which it then says it is
  using Place = Xbyak::RegExp;

  VectorAssembler(size_t bytes, bool avx512)
      : CodeGenerator(bytes, Xbyak::AutoGrow), avx512_(avx512), vector_bytes_(avx512 ? 64 : 32) {}

  Vector vector(int i) const { return avx512_ ? Vector(Xbyak::Zmm(i)) : Vector(i); }
  int of_values() const { return avx512_ ? 28 : 14; }
  Vector extra() const { return vector(avx512_ ? 31 : 15); }

  /// `to` = halves in memory, widened.
  void load_halves(Dtype half, const Vector& to, const Place& from) {
    if (half == Dtype::float16) return vcvtph2ps(to, ptr[from]);
    vpmovzxwd(to, ptr[from]);
    vpslld(to, to, 16);
  }

  /// `to` = x rounded to a half and widened again. `of_halves`: x is a sum or the like of halves;
  /// if it is not a number, it need not become the one that it is as a half.
  void round_to_half(Dtype half, const Vector& to, const Vector& x, bool of_halves) {
    if (half == Dtype::bfloat16) {
      add_rounding(x, of_halves);
      if (avx512_) vpandd(to, extra(), at_hand(upper_half));
      else vpand(to, extra(), constant(upper_half));
      return;
    }
    if (!of_halves) quieten(x);
    vcvtps2ph(lower_half(extra()), of_halves ? x : extra(), to_nearest_even);
    vcvtph2ps(to, lower_half(extra()));
  }

  /// Stores x as halves. `is_half`: it has been rounded.
  void store_halves(Dtype half, const Place& to, const Vector& x, bool is_half, bool of_halves,
                    bool streamed) {
    if (half == Dtype::float16) {
      quieten(x);
      vcvtps2ph(lower_half(extra()), extra(), to_nearest_even);
    } else {
      if (!is_half) add_rounding(x, of_halves);
      vpsrld(extra(), is_half ? x : extra(), 16);
      if (avx512_) {
        vpmovdw(Xbyak::Ymm(extra().getIdx()), Xbyak::Zmm(extra().getIdx()));
      } else {
        vextracti128(Xbyak::Xmm(second_extra().getIdx()), extra(), 1);
        vpackusdw(Xbyak::Xmm(extra().getIdx()), Xbyak::Xmm(extra().getIdx()),
                  Xbyak::Xmm(second_extra().getIdx()));
      }
    }
    if (streamed) vmovntps(ptr[to], lower_half(extra()));
    else vmovups(ptr[to], lower_half(extra()));
  }

  /// At the start of the code that rounds, if any does.
  void load_constants() {
    if (!avx512_ || !uses_constants_) return;
    for (Constant c : {one, below_half, upper_half}) vmovups(at_hand(c), constant(c));
  }
  /// Behind the code.
  void write_constants() {
    if (!uses_constants_) return;
    const uint32_t values[] = {1, 0x7fff, 0xffff0000, 0x400000, 0xff800000};
    align(64);
    for (int i = 0; i < constant_count; ++i) {
      L(labels_[i]);
      for (int at = 0; at < vector_bytes_; at += 4) dd(values[i]);
    }
  }

  const bool avx512_;
  const int vector_bytes_;

 private:
  enum Constant { one, below_half, upper_half, quiet, infinity, constant_count };
  static constexpr uint8_t to_nearest_even = 0;

  Vector second_extra() const { return vector(14); }  // with AVX2
  Vector at_hand(Constant c) const { return vector(28 + c); }
  Xbyak::Address constant(Constant c) {
    uses_constants_ = true;
    return ptr[rip + labels_[c]];
  }
  Xbyak::Xmm lower_half(const Vector& x) const {
    return avx512_ ? Xbyak::Xmm(Xbyak::Ymm(x.getIdx())) : Xbyak::Xmm(x.getIdx());
  }

  /// extra() = x + 0x7fff + (the last bit that stays), whose upper half is the bfloat16. One that
  /// is not a number stays so; of halves, its lower half is 0 anyway.
  void add_rounding(const Vector& x, bool of_halves) {
    const Vector sum = extra();
    vpsrld(sum, x, 16);
    if (avx512_) {
      uses_constants_ = true;
      vpandd(sum, sum, at_hand(one));
      vpaddd(sum, sum, at_hand(below_half));
      vpaddd(sum, sum, x);
      if (of_halves) return;
      vcmpunordps(k1, x, x);
      return vpord(sum | k1, x, constant(quiet));
    }
    vpand(sum, sum, constant(one));
    vpaddd(sum, sum, constant(below_half));
    vpaddd(sum, sum, x);
    if (of_halves) return;
    vcmpunordps(second_extra(), x, x);
    vblendvps(sum, sum, x, second_extra());
    vandps(second_extra(), second_extra(), constant(quiet));
    vorps(sum, sum, second_extra());
  }

  /// extra() = x, but what is no number as the first quiet one of its sign.
  void quieten(const Vector& x) {
    if (avx512_) {
      vmovaps(extra(), x);
      vcmpunordps(k1, x, x);
      vpandd(extra() | k1, x, constant(infinity));
      return vpord(extra() | k1, extra(), constant(quiet));
    }
    vandps(second_extra(), x, constant(infinity));
    vorps(second_extra(), second_extra(), constant(quiet));
    vcmpunordps(extra(), x, x);
    vblendvps(extra(), x, second_extra(), extra());
  }

  bool uses_constants_ = false;
  Xbyak::Label labels_[constant_count];
};

}  // namespace rill
