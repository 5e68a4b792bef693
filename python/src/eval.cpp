// eval, events and traces.
#include <nanobind/stl/string.h>

#include <fstream>

#include "streams.h"
#include "trees.h"

namespace rill::python {

namespace {

/// A point in a stream: everything given to the stream before it.
struct Event {
  Stream stream;
  Ref<Task> last;  // null: all had run

  bool done() const { return !last || last->done(); }
};

/// What `with mx.trace(path):` enters.
struct TraceContext {
  std::string path;
  std::vector<TraceRecord> records;
};

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  require<std::runtime_error>(file.good(), "[trace] cannot write {}", path);
}

nb::dict to_dict(const TraceRecord& record) {
  nb::dict row;
  row["name"] = record.name;
  row["stream"] = nb::cast(record.stream);
  row["stream_name"] = stream_name(record.stream);
  row["queued"] = static_cast<double>(record.queued) * 1e-9;
  row["begin"] = static_cast<double>(record.begin) * 1e-9;
  row["end"] = static_cast<double>(record.end) * 1e-9;
  row["thread"] = record.thread;
  row["active_bytes"] = record.active_bytes;
  return row;
}

void bind_events(nb::module_& m) {
  nb::class_<Event>(m, "Event", "A point in a stream: all that was given to it before.")
      .def_ro("stream", &Event::stream)
      .def("done", &Event::done, "Whether the stream has passed the point.")
      .def(
          "wait",
          [](const Event& event) {
            WithoutGil released;
            if (event.last) wait_for_task(*event.last);
          },
          "Waits until the stream has passed the point.");
  m.def(
      "record_event",
      [](StreamArg s) {
        Stream stream = to_stream(s);
        return Event{stream, strand_of(stream).last()};
      },
      nb::arg("stream") = nb::none(),
      "The point that a stream has reached: done when all that was evaluated on it before is.\n\n"
      ">>> mx.async_eval(y)\n>>> event = mx.record_event(s)\n>>> event.wait()");
}

void bind_traces(nb::module_& m) {
  nb::class_<TraceContext>(m, "TraceContext", "Records what every stream does within a block.")
      .def_prop_ro(
          "records",
          [](const TraceContext& self) {
            nb::list rows;
            for (const TraceRecord& record : self.records) rows.append(to_dict(record));
            return rows;
          },
          "One dict a step, in order of begin; times in seconds on one clock. There after the "
          "block.")
      .def(
          "__enter__",
          [](nb::object self) {
            start_trace();
            return self;
          },
          nb::sig("def __enter__(self) -> TraceContext"))
      .def(
          "__exit__",
          [](TraceContext& self, nb::args) {
            self.records = stop_trace();
            if (!self.path.empty()) write_file(self.path, chrome_trace(self.records));
          },
          nb::sig("def __exit__(self, exc_type: type | None = None, exc_value: object | None = "
                  "None, traceback: object | None = None) -> None"));
  m.def(
      "trace",
      [](nb::object path) {
        std::string name = path.is_none() ? "" : nb::cast<std::string>(nb::str(path));
        return TraceContext{name, {}};
      },
      nb::arg("path") = nb::none(),
      "A context that records what every stream does, and writes it to `path` as a trace that "
      "Perfetto and chrome://tracing open.\n\n>>> with mx.trace('run.json') as t:\n"
      "...     mx.eval(y)\n>>> t.records[0]['name']");
  m.def(
      "set_stream_name",
      [](Stream stream, const std::string& name) { set_stream_name(stream, name); },
      nb::arg("stream"), nb::arg("name"), "The name under which traces show a stream.");
}

}  // namespace

void bind_eval(nb::module_& m) {
  m.def(
      "eval", [](nb::args args) { eval_without_gil(arrays_of(args)); }, nb::arg("args"),
      "Computes all arrays in the arguments (arrays, or trees of them) and waits for them.");
  m.def(
      "async_eval",
      [](nb::args args) {
        Arrays arrays = arrays_of(args);
        WithoutGil released;
        async_eval(arrays);
      },
      nb::arg("args"), "Hands all arrays in the arguments to their streams and returns at once.");
  bind_events(m);
  bind_traces(m);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&begin_shutdown));
  // A Python signal (Ctrl-C) ends a wait of the thread that handles it; the work goes on.
  set_interrupt_check([] {
    if (!is_main_thread() || !Py_IsInitialized() || PyGILState_Check()) return;
    nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  });
}

}  // namespace rill::python
