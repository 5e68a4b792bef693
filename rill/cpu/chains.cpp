#include "rill/cpu/chains.h"

#include <algorithm>

namespace rill {

namespace {

constexpr int no_code = -1;

/// The code of a row whose accumulator is its first operand (or only one), and whose is its second.
struct RowCodes {
  Row row;
  int first;
  int second;
};
constexpr int number(ChainCode code) { return static_cast<int>(code); }
constexpr RowCodes row_codes[] = {
    {Row::add, number(ChainCode::add), number(ChainCode::add)},
    {Row::subtract, number(ChainCode::subtract), number(ChainCode::subtract_from)},
    {Row::multiply, number(ChainCode::multiply), number(ChainCode::multiply)},
    {Row::divide, number(ChainCode::divide), number(ChainCode::divide_into)},
    {Row::negative, number(ChainCode::negate), no_code},
    {Row::square, number(ChainCode::square), no_code},
    {Row::sqrt, number(ChainCode::sqrt), no_code},
};

const RowCodes* codes_of(Row row) {
  const auto* found = std::find_if(std::begin(row_codes), std::end(row_codes),
                                   [&](const RowCodes& codes) { return codes.row == row; });
  return found == std::end(row_codes) ? nullptr : found;
}

class Joiner {
 public:
  Joiner(const Program& program, Lowered& low, FunctionRef<bool(uint16_t)> is_scalar,
         std::vector<ChainLink>& links)
      : program_(program),
        low_(low),
        is_scalar_(is_scalar),
        links_(links),
        uses_(low.same_as.size(), 0),
        reader_(low.same_as.size(), 0),
        joined_(low.code.size(), false) {}

  void run(std::span<const uint16_t> kept) {
    for (uint16_t reg : kept) uses_[low_.same_as[reg]] += 2;
    for (size_t i = 0; i < low_.code.size(); ++i) {
      const Operation& op = low_.code[i];
      for (int k = 0; k < op.operand_count; ++k) {
        uses_[op.operands[k]] += 1;
        reader_[op.operands[k]] = i;
      }
    }
    for (size_t i = 0; i < low_.code.size(); ++i) {
      if (!joined_[i] && can_join(i)) join_from(i);
    }
    Lowered out;
    for (size_t i = 0; i < low_.code.size(); ++i) {
      if (!joined_[i] || low_.code[i].chain) out.code.push_back(low_.code[i]);
    }
    low_.code = std::move(out.code);
  }

 private:
  const Instruction& instruction(size_t i) const { return program_.code[low_.code[i].instruction]; }
  bool can_join(size_t i) const {
    const Instruction& in = instruction(i);
    return in.in == in.out && (in.in == Dtype::float32 || in.in == Dtype::float64) &&
           codes_of(in.row) != nullptr;
  }
  bool scalar(uint16_t reg) const { return reg < program_.inputs.size() && is_scalar_(reg); }

  void join_from(size_t first) {
    std::vector<size_t> members{first};
    for (size_t at = first;;) {
      uint16_t reg = low_.code[at].result;
      if (uses_[reg] != 1) break;
      size_t next = reader_[reg];
      if (joined_[next] || !can_join(next) || instruction(next).in != instruction(first).in) break;
      members.push_back(next);
      at = next;
    }
    const Operation& start = low_.code[first];
    bool reads_number =
        scalar(start.operands[0]) || (start.operand_count > 1 && scalar(start.operands[1]));
    ChainKernel kernel = chain_kernel(instruction(first).in);
    if (kernel == nullptr || (members.size() == 1 && !reads_number)) return;
    auto begin = static_cast<uint32_t>(links_.size());
    begin_chain(start);
    for (size_t m = 1; m < members.size(); ++m) {
      const Operation& op = low_.code[members[m]];
      bool second = op.operand_count > 1 && op.operands[1] == low_.code[members[m - 1]].result;
      add_link(op, second);
    }
    for (size_t member : members) joined_[member] = true;
    Operation& last = low_.code[members.back()];  // by then all operands are there
    last.chain = kernel;
    last.first_link = begin;
    last.link_count = static_cast<uint32_t>(links_.size()) - begin;
  }

  void begin_chain(const Operation& op) {
    // A number is better the other operand.
    bool second = op.operand_count > 1 && scalar(op.operands[0]) && !scalar(op.operands[1]);
    uint16_t from = op.operands[second ? 1 : 0];
    push(number(ChainCode::load), from);
    add_link(op, second);
  }

  /// `second`: the accumulator is the second operand.
  void add_link(const Operation& op, bool second) {
    const RowCodes& codes = *codes_of(program_.code[op.instruction].row);
    if (op.operand_count == 1) {
      links_.push_back({static_cast<ChainCode>(codes.first), op.operands[0], op.operands[0]});
      return;
    }
    push(second ? codes.second : codes.first, op.operands[second ? 0 : 1]);
  }

  /// Each code with a number as its operand follows the one with a tile.
  void push(int code, uint16_t reg) {
    bool is_number = scalar(reg);
    ChainCode last = links_.empty() ? ChainCode::load : links_.back().code;
    bool product = last == ChainCode::multiply || last == ChainCode::multiply_s;
    if (code == number(ChainCode::add) && product) {
      ChainCode both = last == ChainCode::multiply ? ChainCode::mul_add : ChainCode::scale_add;
      links_.back().code = static_cast<ChainCode>(number(both) + is_number);
      links_.back().b = reg;
    } else {
      links_.push_back({static_cast<ChainCode>(code + is_number), reg, reg});
    }
  }

  const Program& program_;
  Lowered& low_;
  FunctionRef<bool(uint16_t)> is_scalar_;
  std::vector<ChainLink>& links_;
  std::vector<uint32_t> uses_;  // by register
  std::vector<size_t> reader_;  // by register: the last operation that reads it
  std::vector<bool> joined_;    // by operation
};

}  // namespace

void join_chains(const Program& program, Lowered& low, std::span<const uint16_t> kept,
                 FunctionRef<bool(uint16_t)> is_scalar, std::vector<ChainLink>& links) {
  Joiner(program, low, is_scalar, links).run(kept);
}

}  // namespace rill
