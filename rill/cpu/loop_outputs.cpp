// The second half of laying out a loop: where the outputs of a step go, and all addresses.
#include <algorithm>

#include "rill/cpu/loop_binder.h"

namespace rill {

namespace {

size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

uint16_t LoopBinder::new_place(Place place) {
  RILL_ASSERT(places_.size() < 0xffff);
  place.root = static_cast<uint16_t>(places_.size());
  places_.push_back(place);
  return place.root;
}

uint16_t LoopBinder::lasting(size_t bytes) {
  Place place;
  place.room = Room::lasting;
  place.offset = lasting_bytes_;
  lasting_bytes_ += padded(bytes);
  return new_place(place);
}

uint16_t LoopBinder::passing(size_t bytes) {
  Place place;
  place.room = Room::passing;
  place.offset = passing_bytes_;
  passing_bytes_ += padded(bytes) + 64;  // off the 4 KiB grid, where loads wait for other stores
  most_passing_ = std::max(most_passing_, passing_bytes_);
  return new_place(place);
}

LoopOp LoopBinder::copy_of(uint16_t value, uint16_t to) {
  const Output& from = plan_.layout(value);
  LoopOp op;
  op.result = to;
  op.operands[0] = value;
  op.operand_count = 1;
  op.n = static_cast<int64_t>(from.bytes());
  op.kind = copy_kind(op.n);
  if (!from.row_major) {
    op.kind = LoopOpKind::gather;
    op.detail = static_cast<uint16_t>(code_.gathers.size());
    code_.gathers.push_back({size_of(from.dtype), from.shape, from.strides});
  }
  return op;
}

void LoopBinder::add_outputs() {
  for (size_t k = operands_.carry; k < plan_.outputs.size() && !operands_.stacks.empty(); ++k) {
    uint16_t value = plan_.outputs[k];
    auto bytes = static_cast<int64_t>(plan_.layout(value).bytes());
    Place row;
    row.data = operands_.stacks[k - operands_.carry]->data;
    if (operands_.reverse) row.data += (operands_.length - 1) * bytes;
    rows_.push_back({value, new_place(row)});
    moving_.push_back({rows_.back().place, operands_.reverse ? -bytes : bytes});
  }
  keep_old_carry();
  next_carry();
  write_rows();
}

/// What the outputs show of the carry as it was before the step is copied before it is written.
void LoopBinder::keep_old_carry() {
  auto shows_carry = [&](const StackRow& row) { return is_carry(root(row.value)); };
  for (const StackRow& row : rows_) {
    if (shows_carry(row)) start_.push_back(copy_of(row.value, row.place));
  }
  std::erase_if(rows_, shows_carry);
}

/// The next carry is computed where the last one lies, or copied there at the end.
void LoopBinder::next_carry() {
  std::vector<bool> is_old;
  for (size_t k = 0; k < operands_.carry; ++k) is_old.push_back(is_carry(root(plan_.outputs[k])));
  for (size_t k = 0; k < operands_.carry; ++k) {
    uint16_t value = plan_.outputs[k];
    auto carry = static_cast<uint16_t>(k);
    if (value == carry) continue;
    if (is_old[k]) {
      uint16_t before = lasting(plan_.layout(value).bytes());
      start_.push_back(copy_of(value, before));
      LoopOp back = copy_of(carry, carry);
      back.operands[0] = before;
      end_.push_back(back);
    } else if (may_write_in_place(value, carry)) {
      move_into(value, carry);
    } else {
      end_.push_back(copy_of(value, carry));
    }
  }
}

void LoopBinder::write_rows() {
  Ops copies;
  for (const StackRow& row : rows_) {
    auto is_view = [&](const Place& place) { return place.root == row.value; };
    const LoopOp* writer = root(row.value) == row.value ? only_writer(row.value) : nullptr;
    bool alone = std::count_if(places_.begin(), places_.end(), is_view) == 1;
    if (writer != nullptr && writer->kind != LoopOpKind::call && alone) {
      move_into(row.value, row.place);
    } else {
      copies.push_back(copy_of(row.value, row.place));
    }
  }
  end_.insert(end_.begin(), copies.begin(), copies.end());
}

/// The operation of each step that computes a value, if it is one.
const LoopOp* LoopBinder::only_writer(uint16_t value) const {
  const LoopOp* found = nullptr;
  for (const LoopOp& op : body_.each_) {
    if (op.result != value) continue;
    if (found != nullptr) return nullptr;
    found = &op;
  }
  return found;
}

/// Whether what computes `value` may write to the carry: nothing reads that afterwards, and the
/// operation itself at most element by element.
bool LoopBinder::may_write_in_place(uint16_t value, uint16_t carry) const {
  if (root(value) != value) return false;
  const LoopOp* writer = only_writer(value);
  if (writer == nullptr || writer->kind == LoopOpKind::call) return false;
  bool elementwise = writer->kind == LoopOpKind::kernel || writer->kind > LoopOpKind::call;
  const LoopOp* last = body_.each_.data() + body_.each_.size();
  for (const LoopOp* op = writer; op != last; ++op) {
    for (int k = 0; k < op->operand_count; ++k) {
      if (root(op->operands[k]) != carry) continue;
      if (op != writer || !elementwise || op->operands[k] != carry) return false;
    }
    if (op->kind != LoopOpKind::call) continue;
    for (const auto& operand : code_.calls[op->detail].operands) {
      if (root(operand.place) == carry) return false;
    }
  }
  return true;
}

/// From now on a value, and what is a view of it, lies at another place.
void LoopBinder::move_into(uint16_t value, uint16_t place) {
  for (Place& other : places_) {
    if (other.root == value) other.root = place;
  }
}

void LoopBinder::finish() {
  size_t bytes = lasting_bytes_ + most_passing_;
  if (bytes > 0 && (!body_.scratch_ || body_.scratch_->bytes() < bytes)) {
    body_.scratch_ = Buffer::allocate(bytes);
  }
  for (size_t i = operands_.carry; i < operands_.carry + operands_.walked; ++i) {
    const Output& whole = operands_.arguments[i].output();
    int64_t row = whole.strides[0] * size_of(whole.dtype);
    moving_.push_back({static_cast<uint16_t>(i), operands_.reverse ? -row : row});
  }
  for (const Place& place : places_) {
    const Place& base = places_[place.root];
    char* start = base.data;
    if (base.room != Room::given) {
      start = static_cast<char*>(body_.scratch_->data()) + base.offset;
      if (base.room == Room::passing) start += lasting_bytes_;
    }
    code_.where.push_back(start + place.delta);
  }
  for (const LoopCode::Move& move : moving_) {
    for (size_t p = 0; p < places_.size(); ++p) {
      if (root(static_cast<uint16_t>(p)) == move.place)
        body_.moves_.push_back({static_cast<uint16_t>(p), move.bytes});
    }
  }
  body_.each_.insert(body_.each_.begin(), start_.begin(), start_.end());
  body_.each_.insert(body_.each_.end(), end_.begin(), end_.end());
}

}  // namespace rill
