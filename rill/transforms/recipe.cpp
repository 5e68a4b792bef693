#include "rill/transforms/recipe.h"

#include <map>

#include "rill/graph/context.h"
#include "rill/graph/tracing.h"

namespace rill {

namespace {

/// A node of an operation that was not recorded: it stays what it is as long as the shapes of its
/// operands do. Gives nothing for others.
std::function<Arrays(const Arrays&)> applied_again(const Node& node) {
  std::vector<Shape> shapes;
  for (const Array& input : node.inputs) shapes.push_back(input.shape());
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(node.output(i).dtype, node.output(i).shape);
  }
  return [shapes = std::move(shapes), outputs = std::move(outputs), op = &node.op,
          stream = node.stream, attrs = node.attrs](const Arrays& inputs) -> Arrays {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].shape() != shapes[i]) return {};
    }
    return make_arrays(*op, stream, outputs, Inputs(inputs.begin(), inputs.end()), attrs);
  };
}

}  // namespace

/// Numbers values and writes the steps between them, producers first.
class Recipe::Writer {
 public:
  explicit Writer(const Arrays& placeholders) {
    recipe_.placeholders_ = Kind::of(placeholders);
    for (const Array& placeholder : placeholders) number(placeholder);
  }

  void add_call(const RecordedCall& call) {
    add(call.stream, call.repeat, numbers_of(call.inputs), call.outputs);
  }
  void add_seen(const Array& array) {
    Number number = number_of(array);
    recipe_.seen_.push_back({number, array.shape()});
  }
  void add_output(const Array& array) { recipe_.outputs_.push_back(number_of(array)); }

  std::shared_ptr<const Recipe> finish() {
    if (lost_) return nullptr;
    return std::make_shared<const Recipe>(std::move(recipe_));
  }

 private:
  using Key = std::pair<const Node*, uint32_t>;
  static Key key(const Array& array) { return {&array.node(), array.index()}; }
  bool is_known(const Array& array) const { return numbers_.contains(key(array)); }

  Number number(const Array& array) {
    auto [place, fresh] = numbers_.emplace(key(array), recipe_.count_);
    if (fresh) ++recipe_.count_;
    return place->second;
  }

  Number number_of(const Array& array) {
    write_down_to(array);
    return lost_ ? 0 : numbers_.at(key(array));
  }
  template <class List>
  std::vector<Number> numbers_of(const List& arrays) {
    std::vector<Number> numbers;
    for (const Array& array : arrays) numbers.push_back(number_of(array));
    return numbers;
  }

  /// The nodes below `root` that no recorded call made, without recursion.
  void write_down_to(const Array& root) {
    Arrays stack{root};
    while (!stack.empty() && !lost_) {
      Array array = stack.back();
      Node& node = array.node();
      size_t before = stack.size();
      if (!is_known(array) && node.trace == placeholder_trace) {
        for (const Array& input : node.inputs) {
          if (!is_known(input)) stack.push_back(input);
        }
      }
      if (stack.size() > before) continue;
      stack.pop_back();
      if (!is_known(array)) write(array);
    }
  }

  /// All inputs are known.
  void write(const Array& array) {
    Node& node = array.node();
    if (node.trace != placeholder_trace) {
      Number constant = number(array);
      recipe_.constants_.push_back({constant, array});
      return;
    }
    lost_ = lost_ || &node.op == &placeholder_op;  // of another trace
    if (!lost_) add(node.stream, applied_again(node), numbers_of(node.inputs), outputs_of(node));
  }

  void add(Stream stream, std::function<Arrays(const Arrays&)> repeat, std::vector<Number> inputs,
           const Arrays& outputs) {
    Step step{stream, std::move(repeat), std::move(inputs), {}, Kind::of(outputs)};
    for (const Array& output : outputs) step.outputs.push_back(number(output));
    recipe_.steps_.push_back(std::move(step));
  }

  Recipe recipe_;
  std::map<Key, Number> numbers_;
  bool lost_ = false;
};

std::shared_ptr<const Recipe> Recipe::of(const SizeWatch& watch, const Arrays& placeholders,
                                         const Arrays& outputs) {
  SizeWatchSuspension quiet;
  if (watch.lost()) return nullptr;
  Writer writer(placeholders);
  for (const RecordedCall& call : watch.calls()) writer.add_call(call);
  for (const Array& array : watch.read()) writer.add_seen(array);
  for (const Array& output : outputs) writer.add_output(output);
  return writer.finish();
}

bool Recipe::take(const Step& step, Arrays& values) const {
  Arrays inputs;
  for (Number number : step.inputs) inputs.push_back(values[number]);
  StreamScope scope(step.stream);
  Arrays results = step.repeat(inputs);
  if (Kind::of(results) != step.kinds) return false;
  for (size_t i = 0; i < results.size(); ++i) values[step.outputs[i]] = std::move(results[i]);
  return true;
}

bool Recipe::looks_the_same(const Arrays& values) const {
  for (const Seen& seen : seen_) {
    const Array& value = values[seen.number];
    if (value && value.shape() != seen.shape) return false;
  }
  return true;
}

std::optional<Captured> Recipe::repeated(const Arrays& inputs) const {
  if (Kind::of(inputs) != placeholders_) return std::nullopt;
  Arrays placeholders;
  for (const Array& input : inputs) {
    placeholders.push_back(make_placeholder(to_stream(), input.dtype(), input.shape()));
  }
  Arrays values = placeholders;
  values.resize(count_);
  for (const Constant& constant : constants_) values[constant.number] = constant.value;
  if (!looks_the_same(values)) return std::nullopt;
  try {
    for (const Step& step : steps_) {
      if (!take(step, values)) return std::nullopt;
    }
  } catch (const std::exception&) {  // who calls the function itself sees why
    return std::nullopt;
  }
  if (!looks_the_same(values)) return std::nullopt;
  Arrays outputs;
  for (Number number : outputs_) outputs.push_back(values[number]);
  return Captured(std::move(placeholders), std::move(outputs));
}

}  // namespace rill
