// Functions as files: traced, written, and called again without the program that defined them.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "rill/transforms/captured.h"

namespace rill {

using NamedArrays = std::map<std::string, Array>;
/// A function of positional and keyword arguments.
using NamedFunction = std::function<Arrays(const Arrays& args, const NamedArrays& kwargs)>;

namespace exported {
struct File;
struct Trace;
}  // namespace exported

/// Collects traces of a function, one for each way in which it shall be called, and writes them to
/// one file. Not for several threads at once.
class FunctionExporter {
 public:
  /// `shapeless`: sizes of the arguments that are found not to matter may differ from call to call.
  /// A size matters when the graph, an attribute or a constant differs where it is changed; the
  /// function is called a few times more to find out.
  FunctionExporter(std::string path, NamedFunction f, bool shapeless = false,
                   std::string metadata = "");
  ~FunctionExporter();
  FunctionExporter(FunctionExporter&&) noexcept;

  /// Traces a call. The values of the arguments do not matter. What else the function depends on is
  /// computed now and stored. Throws std::invalid_argument when an operation on the way cannot be
  /// exported, std::runtime_error after close() and for arguments like those of an earlier trace.
  void add(const Arrays& args, const NamedArrays& kwargs = {});
  /// Writes the file.
  void close();

  const exported::File& file() const { return *file_; }

 private:
  uint32_t stream_number(Stream stream);
  exported::Trace recorded(const Arrays& args, const NamedArrays& kwargs);

  std::string path_;
  NamedFunction f_;
  bool shapeless_;
  bool closed_ = false;
  std::unique_ptr<exported::File> file_;
  std::vector<Stream> streams_;  // of the file's streams, here
};

/// Traces one call and writes it.
void export_function(const std::string& path, const NamedFunction& f, const Arrays& args,
                     const NamedArrays& kwargs = {}, bool shapeless = false,
                     const std::string& metadata = "");

/// A function read from a file. Cheap to copy; any thread may call it. Its derivatives are those of
/// its operations; rules of custom functions are not part of a file.
class ImportedFunction {
 public:
  /// The outputs. Nodes that ran on the default stream of the exporting thread run on that of the
  /// caller; the others on streams of this function. Throws std::invalid_argument unless the
  /// arguments are like those of a trace.
  Arrays operator()(const Arrays& args, const NamedArrays& kwargs = {}) const;

  const std::string& metadata() const;
  /// The arguments of each trace, in words.
  std::string signatures() const;

 private:
  friend ImportedFunction import_function(const std::string& path, const std::vector<Stream>&);
  friend ImportedFunction import_bytes(std::string_view bytes, const std::vector<Stream>&);
  struct State;
  std::shared_ptr<const State> state_;
};

/// Reads a file. `streams` are those on which the function's own streams shall run, in the order in
/// which it first uses them; new ones where none is given. Every node is checked as if it were
/// called by a user. Throws std::runtime_error for a file that cannot be read or does not pass.
ImportedFunction import_function(const std::string& path, const std::vector<Stream>& streams = {});
ImportedFunction import_bytes(std::string_view bytes, const std::vector<Stream>& streams = {});

/// The graph of what is not computed yet below `outputs`, in the language of Graphviz; arrays have
/// the names given here, or letters.
std::string to_dot(const Arrays& outputs, const NamedArrays& names = {});

}  // namespace rill
