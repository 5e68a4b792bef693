#include "rill/cpu/chains.h"

#include <algorithm>

namespace rill {

namespace {

constexpr uint16_t none = 0xffff;
constexpr int64_t long_program = 1 << 20;  // elements: single operations, too, are chains then

/// The code of a row whose accumulator is its first operand (or only one), and whose is its second.
struct RowCodes {
  Row row;
  ChainCode first;
  ChainCode second;
};
constexpr RowCodes row_codes[] = {
    {Row::add, ChainCode::add, ChainCode::add},
    {Row::subtract, ChainCode::subtract, ChainCode::subtract_from},
    {Row::multiply, ChainCode::multiply, ChainCode::multiply},
    {Row::divide, ChainCode::divide, ChainCode::divide_into},
    {Row::negative, ChainCode::negate, {}},
    {Row::square, ChainCode::square, {}},
    {Row::sqrt, ChainCode::sqrt, {}},
};

const RowCodes* codes_of(Row row) {
  const auto* found = std::find_if(std::begin(row_codes), std::end(row_codes),
                                   [&](const RowCodes& codes) { return codes.row == row; });
  return found == std::end(row_codes) ? nullptr : found;
}

ChainCode rounding(Dtype half) {
  return half == Dtype::float16 ? ChainCode::round_float16 : ChainCode::round_bfloat16;
}

class Joiner {
 public:
  Joiner(const Program& program, Lowered& low, FunctionRef<bool(uint16_t)> is_scalar)
      : program_(program),
        low_(low),
        is_scalar_(is_scalar),
        registers_(low.same_as.size()),
        left_(registers_, 0),
        inside_(registers_, 0),
        memory_(registers_, none),
        maker_(registers_, none),
        need_(registers_, 0) {}

  Chains run(std::span<const uint16_t> kept) {
    for (uint16_t reg : kept) ++left_[low_.same_as[reg]];
    for (size_t i = 0; i < low_.code.size(); ++i) {
      for_registers(i, [&](uint16_t reg) { ++left_[reg]; });
    }
    for (size_t reg = 0; reg < registers_; ++reg) memory_[reg] = static_cast<uint16_t>(reg);
    for (size_t i = 0; i < low_.code.size(); ++i) {
      if (can_join(i)) {
        waiting_.push_back(i);
      } else {
        write_needed(i);
        out_.push_back(low_.code[i]);
      }
    }
    write(waiting_);
    low_.code = std::move(out_);
    return std::move(chains_);
  }

 private:
  using Members = std::vector<size_t>;  // operations, in order

  template <class F>
  void for_registers(size_t i, F&& f) const {
    const Operation& op = low_.code[i];
    std::for_each(op.operands, op.operands + op.operand_count, f);
  }
  const Instruction& instruction(size_t i) const { return program_.code[low_.code[i].instruction]; }
  bool can_join(size_t i) const {
    const Instruction& in = instruction(i);
    bool arithmetic = in.in == in.out && codes_of(in.row) != nullptr;
    return (arithmetic || low_.code[i].rounds) && chain_kernel(dtype(i)) != nullptr;
  }
  bool scalar(uint16_t reg) const { return reg < program_.inputs.size() && is_scalar_(reg); }

  /// Writes what waits and what operation `i` depends on.
  void write_needed(size_t i) {
    std::vector<bool> needed(registers_, false);
    for_registers(i, [&](uint16_t reg) { needed[reg] = true; });
    Members now, later;
    for (size_t w = waiting_.size(); w-- > 0;) {
      size_t op = waiting_[w];
      bool is_needed = needed[low_.code[op].result];
      (is_needed ? now : later).push_back(op);
      if (is_needed) for_registers(op, [&](uint16_t reg) { needed[reg] = true; });
    }
    std::reverse(now.begin(), now.end());
    std::reverse(later.begin(), later.end());
    write(now);
    waiting_ = std::move(later);
  }

  /// A chain for each run of one dtype.
  void write(const Members& members) {
    for (size_t begin = 0, end; begin < members.size(); begin = end) {
      end = begin + 1;
      while (end < members.size() && dtype(members[end]) == dtype(members[begin])) ++end;
      write_chain(std::span(members).subspan(begin, end - begin));
    }
  }
  Dtype dtype(size_t i) const { return held_as(instruction(i).out); }

  void write_chain(std::span<const size_t> members) {
    Operation op = low_.code[members.back()];
    bool reads_number = false;
    for_registers(members[0], [&](uint16_t reg) { reads_number = reads_number || scalar(reg); });
    bool is_long = element_count(program_.shape) >= long_program;
    if (members.size() == 1 && !reads_number && !is_long) return out_.push_back(op);
    for (size_t i : members) {
      for_registers(i, [&](uint16_t reg) { ++inside_[reg]; });
      uint16_t result = low_.code[i].result;
      memory_[result] = none;
      maker_[result] = static_cast<uint16_t>(i);
    }
    links_.clear();
    steps_.clear();
    acc_ = held_ = none;
    for (size_t i : members) find_need(i);
    for (size_t i : members) {
      if (!passes(low_.code[i].result)) add_tree(i);
    }
    op.chain = static_cast<int>(chains_.all.size());
    Dtype dtype = this->dtype(members[0]);
    chains_.all.push_back({dtype, keeping_tiles(), steps_, nullptr, chain_kernel(dtype)});
    out_.push_back(op);
  }

  /// Whether a register is read once and by the chain at hand, which computes it.
  bool passes(uint16_t reg) const {
    return memory_[reg] == none && left_[reg] == 1 && inside_[reg] == 1;
  }

  /// Adds an operation after those that compute what it alone reads: of two operands first the one
  /// that needs more banks.
  void add_tree(size_t root) {
    Members order, stack{root};
    while (!stack.empty()) {
      size_t i = stack.back();
      stack.pop_back();
      order.push_back(i);
      size_t first = stack.size();
      for_registers(i, [&](uint16_t reg) {
        if (passes(reg)) stack.push_back(maker_[reg]);
      });
      if (stack.size() - first == 2 && need(stack[first]) < need(stack[first + 1])) {
        std::swap(stack[first], stack[first + 1]);
      }
    }
    for (size_t k = order.size(); k-- > 0;) add(low_.code[order[k]]);
  }

  /// How many values there are at once while an operation and what it alone reads are computed.
  int& need(size_t i) { return need_[low_.code[i].result]; }

  void find_need(size_t i) {
    int most = 0, least = 0;
    for_registers(i, [&](uint16_t reg) {
      int other = passes(reg) ? need_[reg] : 0;
      least = std::max(least, std::min(most, other));
      most = std::max(most, other);
    });
    need(i) = std::max(1, most + (most == least ? 1 : 0));
  }

  void add(const Operation& op) {
    const Instruction& in = program_.code[op.instruction];
    bool two = op.operand_count > 1;
    uint16_t a = op.operands[0];
    uint16_t b = two ? op.operands[1] : none;
    bool second = two && acc_ != a && (acc_ == b || held_ == b || (scalar(a) && !scalar(b)));
    if (uint16_t first = second ? b : a; acc_ != first) {
      put_aside();
      push(ChainCode::load, first);
      if (held_ == first) held_ = none;
    }
    if (op.rounds) {
      links_.push_back({rounding(in.out)});
    } else {
      const RowCodes& codes = *codes_of(in.row);
      if (two) push(second ? codes.second : codes.first, second ? a : b);
      else links_.push_back({codes.first});
    }
    ChainStep step{.row = op.rounds ? Row::cast : in.row,
                   .dtype = in.out,
                   .of_halves = is_half(in.in) && codes_of(in.row) != nullptr,
                   .operand_count = op.operand_count,
                   .result = op.result};
    for (int k = 0; k < op.operand_count; ++k) {
      step.operands[k] = op.operands[k];
      if (scalar(op.operands[k])) step.kind[k] = StepOperand::number;
    }
    for (int k = 0; k < op.operand_count; ++k) was_read(op.operands[k]);
    acc_ = op.result;
    if (left_[acc_] > inside_[acc_]) {
      store(ChainCode::store, acc_, acc_);
      step.stored = true;
    } else if (left_[acc_] > 1) {
      store(ChainCode::store, acc_, free_spill());
    }
    steps_.push_back(step);
  }

  void push(ChainCode code, uint16_t reg) {
    ChainOperand kind = reg == held_  ? ChainOperand::held
                        : scalar(reg) ? ChainOperand::number
                                      : ChainOperand::tile;
    uint16_t from = kind == ChainOperand::held ? uint16_t{0} : memory_[reg];
    if (code == ChainCode::add && !links_.empty()) {
      ChainLink& last = links_.back();
      bool of_tile = last.code == ChainCode::multiply;
      if (of_tile || last.code == ChainCode::multiply_number) {
        last.code =
            with_operand(of_tile ? ChainCode::mul_add_tile : ChainCode::mul_add_number, kind);
        last.b = from;
        return;
      }
    }
    links_.push_back({with_operand(code, kind), from, from});
  }

  /// Saves the accumulator, if it is read later. That will be before what is held is read.
  void put_aside() {
    if (acc_ == none || left_[acc_] == 0 || memory_[acc_] != none) return;
    if (held_ != none) store(ChainCode::store_held, held_, free_spill());
    links_.push_back({ChainCode::hold});
    held_ = acc_;
  }

  void store(ChainCode code, uint16_t reg, uint16_t to) {
    links_.push_back({code, to, to});
    memory_[reg] = to;
  }

  uint16_t free_spill() {
    if (free_.empty()) free_.push_back(static_cast<uint16_t>(registers_ + chains_.spills++));
    uint16_t spill = free_.back();
    free_.pop_back();
    return spill;
  }

  void was_read(uint16_t reg) {
    --inside_[reg];
    if (--left_[reg] > 0) return;
    if (held_ == reg) held_ = none;
    if (memory_[reg] >= registers_ && memory_[reg] != none) free_.push_back(memory_[reg]);
  }

  /// The links, but that a tile that is the next tile to be read, too, is kept.
  std::vector<ChainLink> keeping_tiles() const {
    std::vector<ChainLink> result;
    std::vector<uint16_t> tiles;
    for (const ChainLink& link : links_) {
      for_operands(link, [&](ChainOperand kind, uint16_t reg) {
        if (kind == ChainOperand::tile) tiles.push_back(reg);
      });
    }
    tiles.push_back(none);
    size_t next = 0;
    uint16_t kept = none;
    for (ChainLink link : links_) {
      bool factor_kept = false;  // then what is kept stays
      auto keeps = [&](uint16_t reg) {
        bool again = tiles[++next] == reg;
        if (reg != kept && again && !factor_kept) {
          result.push_back({ChainCode::keep, reg, reg});
          kept = reg;
        }
        return reg == kept;
      };
      ChainCode code = link.code;
      if (code < ChainCode::negate) {
        bool factor = code >= ChainCode::mul_add_tile && code < ChainCode::mul_add_number;
        factor_kept = factor && keeps(link.a);
        if (factor_kept) code = with_operand(ChainCode::mul_add_kept, operand_of(code));
        bool tile = operand_of(code) == ChainOperand::tile;
        if (tile && keeps(is_mul_add(code) ? link.b : link.a)) {
          code = with_operand(code, ChainOperand::kept);
        }
      }
      if (stores(code) && link.a == kept) kept = none;
      link.code = code;
      result.push_back(link);
    }
    result.push_back({ChainCode::end});
    return result;
  }

  const Program& program_;
  Lowered& low_;
  FunctionRef<bool(uint16_t)> is_scalar_;
  size_t registers_;
  std::vector<uint32_t> left_;    // by register: reads to come, one more for each that is kept
  std::vector<uint32_t> inside_;  // by register: those of them by the chain at hand
  std::vector<uint16_t> memory_;  // by register: the tile where it is
  std::vector<uint16_t> maker_;   // by register: its operation, if that is of the chain at hand
  std::vector<int> need_;
  std::vector<uint16_t> free_;  // spills
  Members waiting_;             // arithmetic that nobody has asked for
  SmallVector<Operation, 8> out_;
  Chains chains_;
  std::vector<ChainLink> links_;  // of the chain at hand
  std::vector<ChainStep> steps_;
  uint16_t acc_ = none;  // registers of which banks hold the values
  uint16_t held_ = none;
};

}  // namespace

Chains join_chains(const Program& program, Lowered& low, std::span<const uint16_t> kept,
                   FunctionRef<bool(uint16_t)> is_scalar) {
  return Joiner(program, low, is_scalar).run(kept);
}

}  // namespace rill
