// The file of an exported function: plain data, written and read. docs/exported_functions.md
// describes the bytes.
#pragma once

#include <optional>

#include "rill/transforms/op_registry.h"

namespace rill::exported {

inline constexpr uint32_t format_version = 1;

/// An array of the graph: an input, a constant, or an output of a node.
struct Value {
  Dtype dtype = Dtype::float32;
  Shape shape;
  bool operator==(const Value&) const = default;
};

/// An argument. Sizes with `free` may differ from call to call.
struct Input {
  std::string name;  // of a keyword argument; empty for a positional one
  Value like;
  std::vector<bool> free;  // by axis
};

/// Where nodes run: the caller's default stream of a device, or a stream of its own.
struct StreamName {
  DeviceType device = DeviceType::cpu;
  int32_t device_index = 0;
  bool is_default = true;
  bool operator==(const StreamName&) const = default;
};

struct NodeRecord {
  std::string op;
  uint32_t stream = 0;           // in the file's list
  std::vector<uint32_t> inputs;  // numbers of values
  AttrValues attrs;
  std::vector<Value> outputs;
};

/// What one call with example arguments computed. Values are numbered: inputs, constants, then the
/// outputs of each node in turn.
struct Trace {
  std::vector<Input> inputs;
  std::vector<Array> constants;
  std::vector<NodeRecord> nodes;
  std::vector<uint32_t> outputs;
};

struct File {
  std::string metadata;
  std::vector<StreamName> streams;
  std::vector<Trace> traces;
};

/// The bytes of a file. Constants are computed.
std::string to_bytes(const File& file);

/// Throws std::runtime_error for bytes that are no such file, are damaged or of another version.
/// What it returns is well formed: numbers refer to what comes before them, constants have the
/// bytes of their shapes. Nothing is known yet about operations and their parameters.
File from_bytes(std::string_view bytes);

}  // namespace rill::exported
