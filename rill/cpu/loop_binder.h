// Lays the steps of a body out over the operands of one loop. Internal to cpu/loop_body.
#pragma once

#include "rill/cpu/loop_body.h"
#include "rill/cpu/lowered.h"

namespace rill {

/// Places are numbered: the values of the plan, then what passes between operations and the rows of
/// stacks. A place may be a view of another one.
class LoopBinder {
 public:
  LoopBinder(LoopBody& body, const LoopOperands& operands);
  void run();

 private:
  using Ops = std::vector<LoopOp>;
  using Item = LoopPlan::BodyStep;
  enum class Room : uint8_t { given, lasting, passing };  // scratch, for a loop or a program
  struct Place {
    uint16_t root = 0;     // of which it is a view, or itself
    int64_t delta = 0;     // bytes from there
    bool varies = false;   // from step to step
    char* data = nullptr;  // of a root that is given
    Room room = Room::given;
    size_t offset = 0;  // in its room
  };
  struct StackRow {
    uint16_t value, place;
  };

  void set_arguments();
  void add(Item& item);
  bool add_view(Item& item);
  bool add_product(const Item& item, Ops& ops);
  void add_reduction(const Item& item, Ops& ops);
  void add_program(const Item& item, Ops& ops);
  bool joins_product(const LoopOp& op, Ops& ops, bool first_dies, bool second_dies);
  void add_call(Item& item, Ops& ops);
  uint16_t program_operand(const Item& item, size_t k, Ops& ops);
  void add_store(const Item& item, size_t i, uint16_t from, Ops& ops);

  void add_outputs();
  void keep_old_carry();
  void next_carry();
  void write_rows();
  const LoopOp* only_writer(uint16_t value) const;
  bool may_write_in_place(uint16_t value, uint16_t carry) const;
  void move_into(uint16_t value, uint16_t place);
  void finish();

  uint16_t new_place(Place place);
  uint16_t lasting(size_t bytes);
  uint16_t passing(size_t bytes);
  LoopOp copy_of(uint16_t value, uint16_t to);
  void reduce_into(uint16_t from, const ReduceAttrs& attrs, Dtype in, const Shape& shape,
                   const Strides& strides, uint16_t to, Ops& ops);
  bool is_carry(uint16_t place) const { return place < operands_.carry; }
  uint16_t root(uint16_t place) const { return places_[place].root; }
  bool varies(const Item& item) const;

  LoopBody& body_;
  LoopPlan& plan_;
  LoopCode& code_;
  const LoopOperands& operands_;
  std::vector<Place> places_;
  Ops start_, end_;  // around each_: the carry as it was; what is kept of the step
  std::vector<StackRow> rows_;
  std::vector<LoopCode::Move> moving_;  // roots
  size_t lasting_bytes_ = 0;
  size_t passing_bytes_ = 0;  // of the program at hand
  size_t most_passing_ = 0;
};

}  // namespace rill
