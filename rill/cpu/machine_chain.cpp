#include "rill/cpu/machine_chain.h"

#if defined(__x86_64__)

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "rill/cpu/chain_order.h"
#include "rill/cpu/vector_assembler.h"

namespace rill {

namespace {

constexpr int none = -1;
constexpr int page = 4096;

/// Where the value of a register of the program is, at the step that is translated.
struct Value {
  StepOperand kind{};        // if it comes from elsewhere
  int group = none;          // of vector registers
  int spill = none;          // place in the frame
  int tile = none;           // place among the tiles
  int number = none;         // place among the numbers
  std::vector<int> readers;  // steps, the last one first
};

/// Vector registers come in groups that hold a block of one value, so that several operations are
/// under way at once. When groups run out, the value that is read last gives up its own: it is in
/// memory already, or goes to the frame (Belady 1966).
class Translator : private VectorAssembler {
  using Reg64 = Xbyak::Reg64;

 public:
  Translator(std::span<const ChainStep> steps, Dtype dtype, bool avx512)
      : VectorAssembler(page, avx512),
        steps_(steps),
        is_double_(dtype == Dtype::float64),
        wide_(avx512 ? 4 : 2),
        holder_(of_values() / wide_, none) {
    find_values();
    Xbyak::Label body;
    L(body);
    for (const ChainStep& step : steps) write_step(step);
    repeat_or_leave(body);
    write_constants();
    entry_ = getSize();  // when it is known how large the frame is
    enter(body);
    ready(PROTECT_RW);
  }

  /// It can be moved to another place.
  std::span<const uint8_t> code() const { return {getCode(), getSize()}; }
  size_t entry() const { return entry_; }
  int64_t block_bytes() const { return wide_ * vector_bytes_; }

 private:
  // The arguments, the bytes that are done, of floats and of halves, and a pointer to a tile that
  // has no register of its own.
  const Reg64& where() const { return rdi; }
  const Reg64& bytes() const { return rsi; }
  const Reg64& at() const { return rax; }
  const Reg64& at_of_halves() const { return r15; }
  const Reg64& far_tile() const { return r11; }
  static constexpr int near_tiles = 9;
  Reg64 near_tile(int tile) const {
    const Reg64 pointers[near_tiles] = {rcx, rdx, r8, r9, r10, rbx, r12, r13, r14};
    return pointers[tile];
  }
  Vector of_group(int group, int k) const { return vector(group * wide_ + k); }

  // What the steps read and write.

  void find_values() {
    uint16_t most = 0;
    for (const ChainStep& step : steps_) {
      most = std::max(most, step.result);
      for (int k = 0; k < step.operand_count; ++k) most = std::max(most, step.operands[k]);
    }
    values_.resize(most + size_t{1});
    std::vector<bool> made(values_.size(), false);
    for (const ChainStep& step : steps_) {
      for (int k = 0; k < step.operand_count; ++k) {
        uint16_t reg = step.operands[k];
        if (made[reg]) continue;
        values_[reg].kind = step.kind[k];
        if (step.kind[k] == StepOperand::number) values_[reg].number = place_of(numbers_, reg);
        else values_[reg].tile = place_of(tiles_, reg);
      }
      if (step.stored) place_of(tiles_, step.result);
      made[step.result] = true;
    }
    for (size_t i = steps_.size(); i-- > 0;) {
      for (int k = 0; k < steps_[i].operand_count; ++k) {
        std::vector<int>& readers = values_[steps_[i].operands[k]].readers;
        if (readers.empty() || readers.back() != static_cast<int>(i)) {
          readers.push_back(static_cast<int>(i));
        }
      }
    }
  }

  static int place_of(std::vector<uint16_t>& all, uint16_t reg) {
    auto found = std::find(all.begin(), all.end(), reg);
    if (found == all.end()) found = all.insert(found, reg);
    return static_cast<int>(found - all.begin());
  }

  // One step.

  void write_step(const ChainStep& step) {
    bool two = step.operand_count > 1;
    uint16_t x = step.operands[0];
    uint16_t y = two ? step.operands[1] : x;
    for (int k = 0; k < step.operand_count; ++k) {
      values_[step.operands[k]].readers.pop_back();
      if (k == 0 && two && x == y) break;
    }
    bool commutes = step.row == Row::add || step.row == Row::multiply;
    if (commutes && values_[x].group == none && values_[y].group != none) std::swap(x, y);
    keep_if_read_again(x);
    if (two) keep_if_read_again(y);
    pinned_[0] = values_[x].group;
    pinned_[1] = values_[y].group;
    int group = group_for_result(x, y);
    if (step.row == Row::cast) round(step, group, x);
    else compute(step.row, group, x, y);
    release_if_read(x);
    release_if_read(y);
    Value& result = values_[step.result];
    result.group = group;
    holder_[group] = step.result;
    if (step.stored) store(step, group);
    release_if_read(step.result);
  }

  void store(const ChainStep& step, int group) {
    const int tile = place_of(tiles_, step.result);
    const Place to = tile_place(tile, step.narrowed);
    for (int k = 0; k < wide_; ++k) {
      const Vector from = of_group(group, k);
      if (step.narrowed) {
        store_halves(step.dtype, to + k * vector_bytes_ / 2, from, step.row == Row::cast,
                     step.of_halves, step.streamed);
      } else if (step.streamed) {
        vmovntps(ptr[to + k * vector_bytes_], from);
      } else {
        vmovups(ptr[to + k * vector_bytes_], from);
      }
    }
    if (!step.streamed && !step.narrowed) values_[step.result].tile = tile;  // as good as a spill
  }

  /// Loads a tile, or what was put aside, that is needed more than once.
  void keep_if_read_again(uint16_t reg) {
    Value& value = values_[reg];
    if (value.readers.empty() || value.group != none || value.number != none) return;
    auto found = std::find(holder_.begin(), holder_.end(), none);
    if (found == holder_.end()) return;
    load(static_cast<int>(found - holder_.begin()), value);
    value.group = static_cast<int>(found - holder_.begin());
    *found = reg;
  }

  /// That of an operand that nobody reads again, or another.
  int group_for_result(uint16_t x, uint16_t y) {
    const Value& first = values_[x];
    const Value& second = values_[y];
    if (first.group != none) {
      if (first.readers.empty()) return first.group;
      if (second.group != none && second.readers.empty()) return second.group;
    }
    auto found = std::find(holder_.begin(), holder_.end(), none);
    int group = static_cast<int>(found - holder_.begin());
    if (found == holder_.end()) give_up(group = read_last());
    return group;
  }

  int read_last() const {
    int best = none;
    for (int g = 0; g < static_cast<int>(holder_.size()); ++g) {
      if (g == pinned_[0] || g == pinned_[1]) continue;
      if (best == none || next_reader(holder_[g]) > next_reader(holder_[best])) best = g;
    }
    return best;
  }
  int next_reader(int reg) const { return values_[reg].readers.back(); }

  void give_up(int group) {
    Value& value = values_[holder_[group]];
    if (value.tile == none && value.spill == none) {
      value.spill = take_spill();
      Place to = place(value);
      for (int k = 0; k < wide_; ++k) vmovups(ptr[to + k * vector_bytes_], of_group(group, k));
    }
    value.group = none;
    holder_[group] = none;
  }

  int take_spill() {
    if (free_spills_.empty()) free_spills_.push_back(spills_++);
    int spill = free_spills_.back();
    free_spills_.pop_back();
    return spill;
  }

  void release_if_read(uint16_t reg) {
    Value& value = values_[reg];
    if (!value.readers.empty()) return;
    if (value.group != none && holder_[value.group] == reg) holder_[value.group] = none;
    if (value.spill != none) free_spills_.push_back(value.spill);
    value.group = value.spill = none;
  }

  // Instructions.

  void compute(Row row, int group, uint16_t x, uint16_t y) {
    const Value& first = values_[x];
    const Value& second = values_[y];
    int from = first.group;
    if (from == none && row != Row::sqrt) load(from = group, first);
    if (row == Row::negative) return negate(group, from);
    if (row == Row::square || x == y) {
      bool in_group = row != Row::sqrt || from != none;
      if (in_group) {
        for (int k = 0; k < wide_; ++k) {
          arithmetic(row, of_group(group, k), of_group(from, k), of_group(from, k));
        }
        return;
      }
    }
    Place in = second.group == none ? place(second) : Place();
    bool spread = second.number != none && second.group == none && !avx512_;
    if (spread) broadcast(extra(), in);
    for (int k = 0; k < wide_; ++k) {
      Vector to = of_group(group, k);
      Vector left = from == none ? to : of_group(from, k);
      bool widened = second.group == none && is_half_tile(second);
      if (widened) load_halves(half_of(second), extra(), in + k * vector_bytes_ / 2);
      if (second.group != none) arithmetic(row, to, left, of_group(second.group, k));
      else if (spread || widened) arithmetic(row, to, left, extra());
      else if (second.number != none) arithmetic(row, to, left, ptr_b[in]);
      else arithmetic(row, to, left, ptr[in + k * vector_bytes_]);
    }
  }

  void arithmetic(Row row, const Vector& to, const Vector& x, const Xbyak::Operand& y) {
    bool d = is_double_;
    if (row == Row::add) return d ? vaddpd(to, x, y) : vaddps(to, x, y);
    if (row == Row::subtract) return d ? vsubpd(to, x, y) : vsubps(to, x, y);
    if (row == Row::divide) return d ? vdivpd(to, x, y) : vdivps(to, x, y);
    if (row == Row::sqrt) return d ? vsqrtpd(to, y) : vsqrtps(to, y);
    return d ? vmulpd(to, x, y) : vmulps(to, x, y);  // multiply and square
  }

  void negate(int group, int from) {
    negates_ = true;
    broadcast(extra(), rsp + sign_at());
    for (int k = 0; k < wide_; ++k) {
      if (avx512_) vpxorq(of_group(group, k), of_group(from, k), extra());
      else vxorps(of_group(group, k), of_group(from, k), extra());
    }
  }

  void round(const ChainStep& step, int group, uint16_t x) {
    int from = values_[x].group;
    if (from == none) load(from = group, values_[x]);
    for (int k = 0; k < wide_; ++k) {
      round_to_half(step.dtype, of_group(group, k), of_group(from, k), step.of_halves);
    }
  }

  void load(int group, const Value& value) {
    Place from = place(value);
    for (int k = 0; k < wide_; ++k) {
      if (is_half_tile(value))
        load_halves(half_of(value), of_group(group, k), from + k * vector_bytes_ / 2);
      else if (value.number == none) vmovups(of_group(group, k), ptr[from + k * vector_bytes_]);
      else if (k == 0) broadcast(of_group(group, 0), from);
      else vmovaps(of_group(group, k), of_group(group, 0));
    }
  }
  void broadcast(const Vector& to, const Place& from) {
    if (is_double_) vbroadcastsd(to, ptr[from]);
    else vbroadcastss(to, ptr[from]);
  }

  // Memory. The frame has the sign bit, the numbers, and what is put aside.

  static int sign_at() { return 0; }
  static int number_at(int number) { return 8 * (number + 1); }
  int spills_at() const {
    int numbers = number_at(static_cast<int>(numbers_.size()));
    return (numbers + vector_bytes_ - 1) / vector_bytes_ * vector_bytes_;
  }
  int frame_bytes() const { return spills_at() + spills_ * wide_ * vector_bytes_; }

  static Dtype half_of(const Value& value) {
    return value.kind == StepOperand::float16_tile ? Dtype::float16 : Dtype::bfloat16;
  }
  /// Whether it is read as halves.
  static bool is_half_tile(const Value& value) {
    return value.kind == StepOperand::float16_tile || value.kind == StepOperand::bfloat16_tile;
  }

  Place place(const Value& value) {
    if (value.number != none) return rsp + number_at(value.number);
    if (value.tile == none) return rsp + (spills_at() + value.spill * wide_ * vector_bytes_);
    return tile_place(value.tile, is_half_tile(value));
  }
  Place tile_place(int tile, bool of_halves) {
    if (tile >= near_tiles) mov(far_tile(), ptr[where() + 8 * tiles_[tile]]);
    const Reg64 start = tile < near_tiles ? near_tile(tile) : far_tile();
    return start + (of_halves ? at_of_halves() : at());
  }

  // Before and after.

  void enter(const Xbyak::Label& body) {
    push(rbp);
    mov(rbp, rsp);
    for (const Reg64& reg : {rbx, r12, r13, r14, r15}) push(reg);
    int bytes = frame_bytes();
    for (; bytes > page; bytes -= page) {  // touches each page of the stack in turn
      sub(rsp, page);
      or_(qword[rsp], 0);
    }
    sub(rsp, bytes);
    and_(rsp, -vector_bytes_);
    if (negates_) {
      mov(rax, is_double_ ? uint64_t{1} << 63 : uint64_t{1} << 31);
      mov(ptr[rsp + sign_at()], rax);
    }
    for (size_t i = 0; i < numbers_.size(); ++i) {
      mov(rax, ptr[where() + 8 * numbers_[i]]);
      if (is_double_) mov(rax, ptr[rax]);
      else mov(eax, ptr[rax]);
      mov(ptr[rsp + number_at(static_cast<int>(i))], rax);
    }
    for (int t = 0; t < std::min<int>(near_tiles, static_cast<int>(tiles_.size())); ++t) {
      mov(near_tile(t), ptr[where() + 8 * tiles_[t]]);
    }
    load_constants();
    xor_(eax, eax);
    xor_(at_of_halves(), at_of_halves());
    jmp(body, T_NEAR);
  }

  void repeat_or_leave(const Xbyak::Label& body) {
    Place saved = rbp - 5 * 8;
    add(at(), wide_ * vector_bytes_);
    add(at_of_halves(), wide_ * vector_bytes_ / 2);
    cmp(at(), bytes());
    jb(body, T_NEAR);
    vzeroupper();
    lea(rsp, ptr[saved]);
    for (const Reg64& reg : {r15, r14, r13, r12, rbx}) pop(reg);
    pop(rbp);
    ret();
  }

  std::span<const ChainStep> steps_;
  bool is_double_;
  int wide_;                       // vectors of a group
  std::vector<Value> values_;      // by register of the program
  std::vector<uint16_t> tiles_;    // registers
  std::vector<uint16_t> numbers_;  // registers
  std::vector<int> holder_;        // by group: the register whose value it holds
  int pinned_[2] = {none, none};   // groups that the step reads
  std::vector<int> free_spills_;
  int spills_ = 0;
  bool negates_ = false;
  size_t entry_ = 0;
};

}  // namespace

MachineChain::MachineChain(std::span<const uint8_t> code, size_t entry, int64_t block, int64_t item)
    : bytes_(code.size()), block_(block), item_(item) {
  memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) {
    memory_ = nullptr;
    return;
  }
  std::memcpy(memory_, code.data(), bytes_);
  if (mprotect(memory_, bytes_, PROT_READ | PROT_EXEC) == 0) {
    code_ = reinterpret_cast<Code>(static_cast<char*>(memory_) + entry);
  }
}

MachineChain::~MachineChain() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

std::unique_ptr<const MachineChain> translate(std::span<const ChainStep> steps, Dtype dtype,
                                              std::string_view target) {
  bool avx512 = target == "avx512";
  if (!avx512 && target != "avx2") return nullptr;
  // Two vectors at a time leave much of a processor idle, unless neighbours do not wait for one
  // another: so many results as there are groups of registers may be under way.
  constexpr int groups = 7;
  std::vector<ChainStep> ordered;
  if (!avx512) steps = ordered = in_quick_order(steps, groups);
  Translator translator(steps, dtype, avx512);
  int64_t item = size_of(dtype);
  auto made = std::make_unique<const MachineChain>(translator.code(), translator.entry(),
                                                   translator.block_bytes() / item, item);
  return made->usable() ? std::move(made) : nullptr;
}

}  // namespace rill

#else

namespace rill {

MachineChain::~MachineChain() = default;

std::unique_ptr<const MachineChain> translate(std::span<const ChainStep>, Dtype, std::string_view) {
  return nullptr;
}

}  // namespace rill

#endif
