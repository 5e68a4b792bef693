#include "rill/cpu/fused.h"

#include <algorithm>
#include <cstring>

#include "rill/cpu/copy.h"
#include "rill/cpu/direct_code.h"
#include "rill/cpu/made_rows.h"
#include "rill/cpu/ordered_copy.h"
#include "rill/cpu/program_code.h"
#include "rill/cpu/program_layout.h"
#include "rill/cpu/reduce.h"
#include "rill/cpu/single_operation.h"
#include "rill/cpu/tile_operand.h"
#include "rill/ops/reduce_ops.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t usual_tile = 1024;  // elements; more of narrow types, less of much at once
constexpr int64_t shortest_tile = 256;
constexpr int64_t tile_bytes = 4096;             // of one register
constexpr int64_t tile_set_bytes = 24 << 10;     // what a tile touches: it fits the first cache
constexpr int64_t tiles_per_job = 32;            // what a core takes at a time, at least
constexpr size_t near_bytes = size_t{16} << 20;  // up to here asking ahead takes longer
constexpr int64_t page = 4096;
constexpr uint16_t no_slot = 0xffff;

class Runner {
 public:
  /// `kept` is what an earlier run of the program left there, for this one to use or replace;
  /// without it nothing is left.
  Runner(const Program& program, std::span<Array> inputs, std::span<Array> results,
         Ref<RefCounted>* kept)
      : program_(program),
        inputs_(inputs),
        results_(results),
        layout_(program, inputs),
        kept_(kept) {}

  void run() {
    int64_t size = element_count(program_.shape);
    if (size == 0) return layout_.place(results_, inputs_);
    prepare();
    int64_t tiles = (size + job_tile_ - 1) / job_tile_;
    parallel_for(size, long_grain(tiles, tiles_per_job) * job_tile_,
                 [this](int64_t begin, int64_t end) { run_job(begin, end, nullptr); });
  }

  /// Whether results that are computed in the order of memory are row-major.
  bool walks_row_major() const { return layout_.is_row_major(); }
  /// Everything but the pass over the elements.
  void prepare() {
    as_stored_ = kernel_as_stored(program_) != nullptr;
    layout_.place(results_, inputs_);
    make_operands();
    SmallVector<bool, 8> scalar;
    for (uint16_t reg = 0; reg < operand_count(); ++reg) {
      scalar.push_back(operands_[reg].is_scalar());
      if (!scalar.back()) arrays_.push_back(reg);
    }
    code_ = &program_code(program_, std::move(scalar), own_code_, kept_);
    make_stores();
    direct_ = DirectCode(program_, *code_, operands_, stores_);
    assign_slots();
    choose_tile();
  }
  /// Computes the elements [begin, end); those of the last output, if it is no result, go to `to`.
  void make(int64_t begin, int64_t end, void* to) const {
    const TileStore& last = stores_.back();
    run_job(begin, end, is_made(last) ? static_cast<char*>(to) - begin * last.item : nullptr);
  }

 private:
  void make_operands();
  bool is_produced(uint16_t reg) const;
  void make_stores();
  void assign_slots();
  void choose_tile();
  void choose_portions();
  void run_job(int64_t begin, int64_t end, char* made) const;
  void run_tile(int64_t begin, int64_t count, const void** where, char* scratch, char* made) const;
  void prefetch(int64_t begin, int64_t count) const;
  void call(const Operation& op, const void** where, int64_t from, int64_t count) const;

  uint16_t operand_count() const { return static_cast<uint16_t>(operands_.size()); }
  const SmallVector<Operation, 8>& operations() const { return code_->low.code; }
  /// Registers, but for those in which chains put values aside.
  size_t register_count() const { return code_->low.same_as.size(); }
  /// The register that holds the value of another.
  uint16_t source(uint16_t reg) const { return code_->low.same_as[reg]; }
  TileKernel widen(Dtype dtype) const { return as_stored_ ? nullptr : widening(dtype); }
  TileKernel narrow(Dtype dtype) const { return as_stored_ ? nullptr : narrowing(dtype); }
  /// Bytes of an element of a register.
  int held_size(Dtype dtype) const { return size_of(as_stored_ ? dtype : held_as(dtype)); }
  int held_size(uint16_t reg) const {
    bool unrounded = reg >= program_.inputs.size() + program_.code.size();
    return held_size(unrounded ? Dtype::float32 : program_.dtype_of(reg));
  }
  int widest() const {
    int bytes = 1;
    for (Dtype dtype : program_.inputs) bytes = std::max(bytes, held_size(dtype));
    for (const Instruction& in : program_.code) bytes = std::max(bytes, held_size(in.out));
    return bytes;
  }
  const Chain& chain(const Operation& op) const { return code_->chains.all[op.chain]; }
  /// Calls `f` with the registers that an operation reads, but for what a chain put aside itself.
  template <class F>
  void for_operands(const Operation& op, F&& f) const {
    if (op.chain < 0) {
      std::for_each(op.operands, op.operands + op.operand_count, f);
      return;
    }
    for (const ChainLink& link : chain(op).links) {
      rill::for_operands(link, [&](ChainOperand, uint16_t reg) {
        if (reg < register_count()) f(reg);
      });
    }
  }
  template <class F>
  void for_results(const Operation& op, F&& f) const {
    if (op.chain < 0) return f(op.result);
    for (const ChainLink& link : chain(op).links) {
      if (stores(link.code) && link.a < register_count()) f(link.a);
    }
  }
  /// Whether the caller of make() says where it goes.
  static bool is_made(const TileStore& store) { return store.data == nullptr; }
  char* slot(char* scratch, uint16_t reg) const {
    return scratch + first_slot_ + slot_[reg] * slot_bytes_;
  }
  /// The upper half of a slot is free while it holds float32: room for halves as they are stored.
  char* raw(char* scratch, uint16_t reg) const {
    return slot(scratch, reg) + tile_ * static_cast<int64_t>(sizeof(float));
  }

  const Program& program_;
  std::span<Array> inputs_;
  std::span<Array> results_;
  ProgramLayout layout_;    // of the results
  bool as_stored_ = false;  // halves are not held as float32
  bool far_ = false;        // what is read and written does not fit a cache that is near
  Ref<RefCounted>* kept_;
  const ProgramCode* code_ = nullptr;  // what is kept, or:
  ProgramCode own_code_;
  SmallVector<TileOperand, 3> operands_;
  std::vector<Ref<Buffer>> copies_;  // of operands, in the order in which they are walked
  SmallVector<uint16_t, 3> arrays_;  // the operands that are more than one number
  SmallVector<TileStore, 2> stores_;
  DirectCode direct_;
  SmallVector<uint16_t, 8> slot_;  // by register
  uint16_t slot_count_ = 0;
  int slot_item_ = 1;              // bytes of the widest element that is held in a slot
  int64_t piece_ = 0;              // what a call of a kernel computes
  int64_t portion_ = 0;            // of the next tile, asked for before a call; 0: nothing is
  int64_t first_slot_ = 0;         // in the scratch memory
  int64_t slot_bytes_ = 0;         // from one to the next
  int64_t job_tile_ = usual_tile;  // by the widest type alone
  int64_t tile_ = usual_tile;
};

void Runner::make_operands() {
  for (const Array& input : inputs_) {
    const Output& operand = input.output();
    TileKernel widen = this->widen(operand.dtype);
    if (operand.size == 1) {
      operands_.push_back(TileOperand::scalar(operand, widen));
      continue;
    }
    if (layout_.has(operand) && !is_uniform(operand)) {
      operands_.emplace_back(operand, widen);
      continue;
    }
    const Shape shape = layout_.as_walked(program_.shape);
    const Strides strides =
        layout_.as_walked(broadcast_strides(operand.shape, operand.strides, program_.shape));
    if (auto copy = OrderedCopy::of(operand, shape, strides)) {
      operands_.emplace_back(copy->output, shape, copy->strides, widen);
      copies_.push_back(std::move(copy->output.buffer));
      continue;
    }
    operands_.emplace_back(operand, shape, strides, widen);
  }
}

/// Whether an operation computes a register, and it is not among those to be stored yet.
bool Runner::is_produced(uint16_t reg) const {
  auto stores_it = [&](const TileStore& other) { return other.reg == reg; };
  return source(reg) == reg && reg >= program_.inputs.size() &&
         std::none_of(stores_.begin(), stores_.end(), stores_it);
}

void Runner::make_stores() {
  size_t total = 0;
  for (const Array& result : results_) total += result.bytes();
  size_t read = 0;
  for (const Array& input : inputs_) read += input.bytes();
  far_ = total + read > near_bytes;
  // What the inputs would push out of the cache before it is read again need not enter it.
  const bool is_pushed_out = total + read > last_level_cache_bytes();
  bool stream = use_streaming(total) || (total >= read / 4 && is_pushed_out);
  for (size_t i = 0; i < results_.size(); ++i) {
    const Output& out = results_[i].output();
    bool donated = out.buffer->reference_count() > 1;
    TileStore store{program_.outputs[i], out.data, size_of(out.dtype), narrow(out.dtype), donated};
    store.streaming = !donated && stream && reinterpret_cast<uintptr_t>(out.data) % 64 == 0;
    // An operation may write to memory itself when nothing reads the old bytes after it.
    bool last = !operations().empty() && operations().back().result == store.reg;
    store.direct =
        is_produced(store.reg) && !store.narrow && !store.streaming && (!donated || last);
    stores_.push_back(store);
  }
  if (results_.size() == program_.outputs.size()) return;
  uint16_t reg = program_.outputs.back();
  Dtype dtype = program_.dtype_of(reg);
  bool direct = !narrow(dtype) && is_produced(reg);
  stores_.push_back({reg, nullptr, size_of(dtype), narrow(dtype), false, direct});
}

/// Slots of the scratch memory, reused after the last use of a register.
void Runner::assign_slots() {
  const SmallVector<Operation, 8>& code = operations();
  size_t registers = register_count();
  SmallVector<int, 16> last_use(registers, -1);
  SmallVector<bool, 16> only_in_chains(registers, true);
  for (int i = 0; i < code.ssize(); ++i) {
    for_operands(code[i], [&](uint16_t reg) {
      last_use[reg] = i;
      if (code[i].chain < 0) only_in_chains[reg] = false;
    });
    for_results(code[i], [&](uint16_t reg) { last_use[reg] = std::max(last_use[reg], i); });
  }
  const int never = code.ssize();
  SmallVector<bool, 16> direct(registers, false);
  for (const TileStore& store : stores_) {
    if (store.direct) direct[store.reg] = true;
    if (store.direct) continue;
    last_use[source(store.reg)] = never;
    only_in_chains[source(store.reg)] = false;
  }
  slot_.resize(registers + code_->chains.spills, no_slot);
  SmallVector<uint16_t, 16> free;
  auto take = [&](uint16_t reg) {
    slot_item_ = std::max(slot_item_, held_size(reg));
    if (free.empty()) free.push_back(slot_count_++);
    slot_[reg] = free.back();
    free.pop_back();
  };
  for (uint16_t reg = 0; reg < operand_count(); ++reg) {
    bool number = operands_[reg].is_scalar() && only_in_chains[reg];
    if (!operands_[reg].needs_slot() || number) continue;
    if (widen(program_.inputs[reg])) slot_item_ = 8;  // room for the stored halves
    take(reg);
    last_use[reg] = never;
  }
  for (size_t spill = registers; spill < slot_.size(); ++spill) slot_[spill] = slot_count_++;
  if (code_->chains.spills > 0) slot_item_ = std::max(slot_item_, widest());
  for (int i = 0; i < code.ssize(); ++i) {
    // Results get slots before operands give theirs back: sizes may differ.
    for_results(code[i], [&](uint16_t reg) {
      if (slot_[reg] == no_slot && !direct[reg]) take(reg);
    });
    for_operands(code[i], [&](uint16_t reg) {
      if (last_use[reg] != i || reg == code[i].result || slot_[reg] == no_slot) return;
      free.push_back(slot_[reg]);
      last_use[reg] = never;  // it may be read twice
    });
  }
}

/// Narrow types go in longer tiles; the less an element touches, the longer a tile is.
void Runner::choose_tile() {
  job_tile_ = tile_ = std::max(usual_tile, tile_bytes / widest());
  // Machine code puts nothing aside in slots, but for the end of a tile.
  const std::vector<Chain>& chains = code_->chains.all;
  bool coded = std::all_of(chains.begin(), chains.end(), [](auto& chain) { return chain.code; });
  int64_t bytes = int64_t{slot_count_ - (coded ? code_->chains.spills : 0)} * slot_item_;
  for (uint16_t reg : arrays_) bytes += size_of(program_.inputs[reg]);
  for (const TileStore& store : stores_) bytes += store.item;
  while (tile_ > shortest_tile && bytes * tile_ > tile_set_bytes) tile_ /= 2;
  while (!far_ && tile_ < longest_tile && 2 * bytes * tile_ <= tile_set_bytes) tile_ *= 2;
  choose_portions();
  // A load waits for a store that is as far into its page, as if it read what that writes. Slots
  // and arrays, which begin with pages, are as far from each other in theirs as possible.
  const int64_t apart = page / (slot_count_ + 1) / 64 * 64;
  first_slot_ = apart;
  slot_bytes_ = (tile_ * slot_item_ + page - 1) / page * page + std::max<int64_t>(apart, 64);
}

/// While a tile is computed, the next one is asked for: a few lines of memory before each call, and
/// calls of kernels short enough for that, since a core waits where it asks for many at once. Where
/// one call reads all, the processor is better.
void Runner::choose_portions() {
  constexpr int64_t at_once = 1024;  // bytes
  piece_ = tile_;
  if (!far_ || operations().size() <= 1) return;
  int64_t bytes = 0;  // of an element, that are asked for
  for (uint16_t reg : arrays_) bytes += size_of(program_.inputs[reg]);
  for (const TileStore& store : stores_)
    bytes += store.streaming || is_made(store) ? 0 : store.item;
  const int64_t most = std::max<int64_t>(64, at_once / std::max<int64_t>(bytes, 1));
  const int64_t kernels = std::count_if(operations().begin(), operations().end(),
                                        [](auto& op) { return op.chain < 0; });
  const int64_t left = tile_ / most - (operations().ssize() - kernels);
  if (kernels > 0 && left > kernels) {
    const int64_t pieces = (left + kernels - 1) / kernels;
    piece_ = std::max<int64_t>(64, tile_ / pieces / 64 * 64);
  }
  const int64_t calls = operations().ssize() - kernels + kernels * ((tile_ + piece_ - 1) / piece_);
  portion_ = (tile_ / calls + 63) / 64 * 64;
}

/// Asks for the memory of `count` elements from `begin` on of all arrays that are read, or written
/// through the caches.
void Runner::prefetch(int64_t begin, int64_t count) const {
  for (uint16_t reg : arrays_) operands_[reg].prefetch(begin, count);
  for (const TileStore& out : stores_) {
    if (out.streaming || is_made(out)) continue;
    for (int64_t at = 0; at < count * out.item; at += 64) {
      __builtin_prefetch(out.data + begin * out.item + at, 1);
    }
  }
}

/// Calls the kernel of an operation on the elements [from, from + count) of a tile.
void Runner::call(const Operation& op, const void** where, int64_t from, int64_t count) const {
  auto place = [&](uint16_t reg) {
    const auto* start = static_cast<const char*>(where[reg]);
    return from == 0 ? start : start + from * held_size(reg);
  };
  const void* operands[3] = {};
  for (int k = 0; k < op.operand_count; ++k) operands[k] = place(op.operands[k]);
  op.kernel(const_cast<char*>(place(op.result)), operands[0], operands[1], operands[2], count);
}

void Runner::run_tile(int64_t begin, int64_t count, const void** where, char* scratch,
                      char* made) const {
  const bool direct = direct_.fits(begin, count);
  for (uint16_t reg : arrays_) {
    if (direct && direct_.reads_stored(reg)) {
      where[reg] = operands_[reg].stored(begin);
      continue;
    }
    char* own = operands_[reg].needs_slot() ? slot(scratch, reg) : nullptr;
    where[reg] = operands_[reg].fetch(begin, count, own, own ? raw(scratch, reg) : nullptr);
  }
  auto place = [&](const TileStore& out) {
    return (is_made(out) ? made : out.data) + begin * out.item;
  };
  for (const TileStore& out : stores_) {
    if (out.direct) where[out.reg] = place(out);
    else if (out.narrowed) where[out.reg] = direct ? place(out) : slot(scratch, out.reg);
  }
  int64_t asked = 0;
  auto ask_ahead = [&] {
    if (portion_ == 0 || asked >= count) return;
    prefetch(begin + count + asked, std::min(portion_, count - asked));
    asked += portion_;
  };
  for (const Operation& op : operations()) {
    if (op.chain >= 0) {
      ask_ahead();
      const MachineChain* code = direct ? direct_.of_chain(op.chain) : nullptr;
      chain(op).run(const_cast<void**>(where), count, code);
      continue;
    }
    for (int64_t from = 0; from < count; from += piece_) {
      ask_ahead();
      call(op, where, from, std::min(piece_, count - from));
    }
  }
  for (const TileStore& out : stores_) {
    bool is_stored = out.direct || (direct && out.narrowed);
    if (!is_stored) out.write(place(out), where[source(out.reg)], count);
  }
}

/// Scratch memory of this thread, from the start of a page; grows, never shrinks.
char* scratch_of_thread(size_t bytes) {
  thread_local std::vector<char> memory;
  if (memory.size() < bytes + page) memory.resize(bytes + page);
  auto address = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<char*>((address + page - 1) / page * page);
}

void Runner::run_job(int64_t begin, int64_t end, char* made) const {
  char* scratch = scratch_of_thread(static_cast<size_t>(first_slot_ + slot_count_ * slot_bytes_));
  SmallVector<const void*, 16> where(slot_.size(), nullptr);
  for (size_t reg = 0; reg < where.size(); ++reg) {
    if (slot_[reg] != no_slot) where[reg] = slot(scratch, static_cast<uint16_t>(reg));
  }
  for (uint16_t reg = 0; reg < operand_count(); ++reg) {
    if (!operands_[reg].is_scalar()) continue;
    if (slot_[reg] == no_slot) {
      where[reg] = operands_[reg].number();
    } else {
      operands_[reg].splat(slot(scratch, reg), raw(scratch, reg), std::min(tile_, end - begin));
    }
  }
  for (int64_t at = begin; at < end; at += tile_) {
    run_tile(at, std::min(tile_, end - at), where.data(), scratch, made);
  }
  if (std::any_of(stores_.begin(), stores_.end(), [](auto& out) { return out.streaming; })) {
    stream_fence();
  }
}

void run_reduction(const Program& program, std::span<Array> inputs, std::span<Array> results,
                   Ref<RefCounted>* kept) {
  auto [kind, axes] = *program.reduction;
  Array& result = results.back();
  std::span<Array> stored = results.first(results.size() - 1);
  Output& out = result.node().output(0);
  Dtype in = program.dtype_of(program.outputs.back());
  auto allocate_result = [&] {
    out.place(Buffer::allocate(out.bytes()));
    return out.data;
  };
  int64_t n = made_row(program.shape, axes);
  if (n > 0 && out.size > 0) {
    const Output* x = squared_and_summed(program, inputs);
    if (x != nullptr) return reduce_squares(in, x->data, out.size, n, allocate_result());
  }
  Runner runner(program, inputs, stored, kept);
  if (n > 0 && out.size > 0 && runner.walks_row_major()) {
    runner.prepare();
    auto make = [&](int64_t begin, int64_t end, void* to) { runner.make(begin, end, to); };
    return reduce_made_rows(kind, in, out.size, n, out.dtype, allocate_result(), make);
  }
  Array whole = make_array(reduce_op, result.node().stream, in, program.shape, {});
  Arrays all(stored.begin(), stored.end());
  all.push_back(whole);
  Runner(program, inputs, all, kept).run();
  const Output& made = whole.output();
  reduce(kind, in, made.data, made.shape, made.strides, axes, out.dtype, allocate_result());
}

}  // namespace

void run_program(const Program& program, std::span<Array> inputs, std::span<Array> results,
                 Ref<RefCounted>* kept) {
  if (run_single_operation(program, inputs, results)) return;
  if (program.reduction) return run_reduction(program, inputs, results, kept);
  Runner(program, inputs, results, kept).run();
}

}  // namespace rill
