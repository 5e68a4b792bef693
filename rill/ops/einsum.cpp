#include "rill/ops/einsum.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "rill/ops/elementwise.h"
#include "rill/ops/matmul.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

/// The names of the axes of an operand: letters, or -1, -2, ... for those of '...', from the last.
using Labels = Axes;
using Sizes = std::map<int, int64_t>;

struct Equation {
  std::vector<Labels> inputs;
  Labels output;
  Sizes sizes;
};

bool holds(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

/// The labels of "ij...", where '...' stands for `hidden` axes.
Labels labels_of(std::string_view text, int hidden) {
  Labels labels;
  bool seen = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "...") {
      require(!seen, "[einsum] '...' occurs twice in '{}'", text);
      seen = true;
      i += 2;
      for (int k = hidden; k > 0; --k) labels.push_back(-k);
      continue;
    }
    require(std::isalpha(static_cast<unsigned char>(text[i])),
            "[einsum] subscripts are letters, got '{}' in '{}'", text[i], text);
    labels.push_back(text[i]);
  }
  return labels;
}

int letters_in(std::string_view text) {
  return static_cast<int>(text.size()) - (text.find("...") == text.npos ? 0 : 3);
}

std::vector<std::string_view> split_terms(std::string_view text) {
  std::vector<std::string_view> terms;
  for (size_t comma; (comma = text.find(',')) != text.npos; text.remove_prefix(comma + 1)) {
    terms.push_back(text.substr(0, comma));
  }
  terms.push_back(text);
  return terms;
}

void add_sizes(Sizes& sizes, const Labels& labels, const Shape& shape) {
  for (int i = 0; i < labels.ssize(); ++i) {
    int64_t& size = sizes.try_emplace(labels[i], 1).first->second;
    require(size == 1 || shape[i] == 1 || size == shape[i],
            "[einsum] sizes {} and {} of one subscript do not fit", size, shape[i]);
    if (shape[i] != 1) size = shape[i];
  }
}

/// '...' and then the letters that occur once.
Labels implied_output(const std::vector<Labels>& inputs, int hidden) {
  std::map<int, int> uses;
  for (const Labels& labels : inputs) {
    for (int label : labels) ++uses[label];
  }
  Labels output;
  for (int k = hidden; k > 0; --k) output.push_back(-k);
  for (auto [label, count] : uses) {
    if (label > 0 && count == 1) output.push_back(label);
  }
  return output;
}

Labels given_output(std::string_view text, int hidden, const Sizes& sizes) {
  Labels output = labels_of(text, hidden);
  for (int i = 0; i < output.ssize(); ++i) {
    require(sizes.contains(output[i]), "[einsum] the output '{}' names an axis that no operand has",
            text);
    require(std::find(output.begin() + i + 1, output.end(), output[i]) == output.end(),
            "[einsum] the output '{}' names an axis twice", text);
  }
  return output;
}

Equation parse(std::string_view subscripts, const std::vector<Shape>& shapes) {
  require(!shapes.empty(), "[einsum] expected at least one operand");
  std::string text;
  std::copy_if(subscripts.begin(), subscripts.end(), std::back_inserter(text),
               [](unsigned char c) { return !std::isspace(c); });
  size_t arrow = text.find("->");
  std::string_view left = std::string_view(text).substr(0, arrow);
  std::vector<std::string_view> terms = split_terms(left);
  require(terms.size() == shapes.size(), "[einsum] '{}' has {} operands, got {}", subscripts,
          terms.size(), shapes.size());
  Equation equation;
  int most_hidden = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    int hidden = shapes[i].ssize() - letters_in(terms[i]);
    bool fits = terms[i].find("...") == terms[i].npos ? hidden == 0 : hidden >= 0;
    require(fits, "[einsum] '{}' does not name the axes of shape {}", terms[i], shapes[i]);
    equation.inputs.push_back(labels_of(terms[i], hidden));
    add_sizes(equation.sizes, equation.inputs.back(), shapes[i]);
    most_hidden = std::max(most_hidden, hidden);
  }
  equation.output = arrow == text.npos ? implied_output(equation.inputs, most_hidden)
                                       : given_output(std::string_view(text).substr(arrow + 2),
                                                      most_hidden, equation.sizes);
  return equation;
}

Labels united(const Labels& a, const Labels& b) {
  Labels all;
  for (const Labels& labels : {a, b}) {
    for (int label : labels) {
      if (!holds(all, label)) all.push_back(label);
    }
  }
  return all;
}

/// The labels that the output or an operand other than `a` and `b` has.
Labels needed_beside(const std::vector<Labels>& terms, const Labels& output, size_t a, size_t b) {
  Labels needed = output;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (i != a && i != b) needed = united(needed, terms[i]);
  }
  return needed;
}

Labels common(const Labels& labels, const Labels& others) {
  Labels both;
  for (int label : labels) {
    if (holds(others, label)) both.push_back(label);
  }
  return both;
}

double volume(const Labels& labels, const Sizes& sizes) {
  double product = 1;
  for (int label : labels) product *= static_cast<double>(sizes.at(label));
  return product;
}

struct Candidate {
  size_t a = 0, b = 0;
  double freed = 0;
  double work = 0;
  bool operator<(const Candidate& other) const {
    return freed != other.freed ? freed > other.freed : work < other.work;
  }
};

Candidate best_pair(const std::vector<Labels>& terms, const Equation& equation) {
  std::optional<Candidate> best;
  for (size_t a = 0; a < terms.size(); ++a) {
    for (size_t b = a + 1; b < terms.size(); ++b) {
      Labels all = united(terms[a], terms[b]);
      Labels left = common(all, needed_beside(terms, equation.output, a, b));
      double freed = volume(terms[a], equation.sizes) + volume(terms[b], equation.sizes) -
                     volume(left, equation.sizes);
      Candidate pair{a, b, freed, volume(all, equation.sizes)};
      if (!best || pair < *best) best = pair;
    }
  }
  return *best;
}

ContractionPath path_of(const Equation& equation) {
  std::vector<Labels> terms;
  for (const Labels& labels : equation.inputs) terms.push_back(united(labels, {}));
  ContractionPath path;
  auto count_step = [&](const Labels& all, const Labels& left) {
    path.scaling = std::max(path.scaling, all.ssize());
    path.flops += volume(all, equation.sizes) * (left.size() < all.size() ? 2 : 1);
  };
  Labels all;
  for (const Labels& labels : terms) all = united(all, labels);
  path.naive_scaling = all.ssize();
  double products = std::max<double>(1, static_cast<double>(terms.size()) - 1);
  path.naive_flops =
      volume(all, equation.sizes) * (products + (equation.output.size() < all.size() ? 1 : 0));
  if (terms.size() == 1) {
    path.steps.push_back({0});
    count_step(all, equation.output);
  }
  while (terms.size() > 1) {
    auto [a, b, freed, work] = best_pair(terms, equation);
    Labels both = united(terms[a], terms[b]);
    Labels left = common(both, needed_beside(terms, equation.output, a, b));
    count_step(both, left);
    path.steps.push_back({static_cast<int>(a), static_cast<int>(b)});
    terms.erase(terms.begin() + b);
    terms.erase(terms.begin() + a);
    terms.push_back(left);
  }
  return path;
}

struct Term {
  Array array;
  Labels labels;
};

/// The term with each label once, without those that nobody needs and those that broadcast.
Term prepared(Term term, const Labels& needed, const Sizes& sizes) {
  for (int i = 0; i < term.labels.ssize(); ++i) {
    auto again = std::find(term.labels.begin() + i + 1, term.labels.end(), term.labels[i]);
    if (again == term.labels.end()) continue;
    int label = term.labels[i];
    int j = static_cast<int>(again - term.labels.begin());
    require(term.array.shape(i) == term.array.shape(j),
            "[einsum] sizes {} and {} of a repeated subscript differ", term.array.shape(i),
            term.array.shape(j));
    term.array = diagonal(term.array, 0, i, j);
    term.labels.erase(term.labels.begin() + j);
    term.labels.erase(term.labels.begin() + i);
    term.labels.push_back(label);
    i = -1;  // the axes have moved
  }
  Axes summed;
  Axes dropped;
  Labels kept;
  for (int i = 0; i < term.labels.ssize(); ++i) {
    if (term.array.shape(i) == 1 && sizes.at(term.labels[i]) != 1) dropped.push_back(i);
    else if (!holds(needed, term.labels[i])) summed.push_back(i);
    else kept.push_back(term.labels[i]);
  }
  if (!summed.empty()) term.array = sum(term.array, summed, true);
  dropped.append(summed.begin(), summed.end());
  if (!dropped.empty()) term.array = squeeze(term.array, dropped);
  return {term.array, kept};
}

/// The axes of `term` in the order of `labels`, which it all has.
Array ordered(const Term& term, const Labels& labels) {
  Axes order;
  for (int label : labels) {
    order.push_back(static_cast<int>(std::find(term.labels.begin(), term.labels.end(), label) -
                                     term.labels.begin()));
  }
  return transpose(term.array, order);
}

Labels joined(Labels a, const Labels& b) {
  a.append(b.begin(), b.end());
  return a;
}

int64_t count_of(const Labels& labels, const Sizes& sizes) {
  int64_t count = 1;
  for (int label : labels) count *= sizes.at(label);
  return count;
}

/// The product of two terms, summed over the labels that are not needed.
Term contract(const Term& a, const Term& b, const Labels& needed, const Sizes& sizes) {
  Labels batch, summed, rows, columns;
  for (int label : a.labels) {
    if (!holds(b.labels, label)) rows.push_back(label);
    else (holds(needed, label) ? batch : summed).push_back(label);
  }
  for (int label : b.labels) {
    if (!holds(a.labels, label)) columns.push_back(label);
  }
  Labels labels = joined(joined(batch, rows), columns);
  Shape shape;
  for (int label : labels) shape.push_back(sizes.at(label));
  int64_t m = count_of(rows, sizes);
  int64_t n = count_of(columns, sizes);
  int64_t k = count_of(summed, sizes);
  int64_t batches = count_of(batch, sizes);
  if (summed.empty()) {
    Array left = reshape(ordered(a, joined(batch, rows)), {batches, m, 1});
    Array right = reshape(ordered(b, joined(batch, columns)), {batches, 1, n});
    return {reshape(left * right, shape), labels};
  }
  Array left = ordered(a, joined(joined(batch, rows), summed));
  Array right = ordered(b, joined(joined(batch, summed), columns));
  if (batch.empty()) {
    return {reshape(matmul(reshape(left, {m, k}), reshape(right, {k, n})), shape), labels};
  }
  Array product = matmul(reshape(left, {batches, m, k}), reshape(right, {batches, k, n}));
  return {reshape(product, shape), labels};
}

std::vector<Shape> shapes_of(const Arrays& arrays) {
  std::vector<Shape> shapes;
  for (const Array& array : arrays) shapes.push_back(array.shape());
  return shapes;
}

}  // namespace

ContractionPath einsum_path(std::string_view subscripts, const std::vector<Shape>& shapes) {
  return path_of(parse(subscripts, shapes));
}

Array einsum(std::string_view subscripts, const Arrays& operands, StreamOrDevice s) {
  if (sizes_are_watched()) [[unlikely]] {
    return recorded([](const auto&... all) { return einsum(all...); }, std::string(subscripts),
                    operands, s);
  }
  StreamScope scope(to_stream(s));
  Equation equation = parse(subscripts, shapes_of(operands));
  std::vector<Term> terms;
  for (size_t i = 0; i < operands.size(); ++i) {
    Labels needed = needed_beside(equation.inputs, equation.output, i, i);
    terms.push_back(prepared({operands[i], equation.inputs[i]}, needed, equation.sizes));
  }
  for (const Axes& step : path_of(equation).steps) {
    if (step.size() == 1) break;
    Term a = terms[step[0]];
    Term b = terms[step[1]];
    terms.erase(terms.begin() + step[1]);
    terms.erase(terms.begin() + step[0]);
    Labels needed = equation.output;
    for (const Term& term : terms) needed = united(needed, term.labels);
    // What broadcast against one of the two may have no other use.
    a = prepared(a, united(needed, b.labels), equation.sizes);
    b = prepared(b, united(needed, a.labels), equation.sizes);
    terms.push_back(contract(a, b, needed, equation.sizes));
  }
  return ordered(terms[0], equation.output);
}

}  // namespace rill
