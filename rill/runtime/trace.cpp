#include "rill/runtime/trace.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "rill/memory/allocator.h"

namespace rill {

namespace detail {
std::atomic<bool> trace_on{false};
}

namespace {

struct Recorder {
  std::mutex mutex;
  std::vector<TraceRecord> records;
  std::map<int, std::string> names;  // by stream index
};

Recorder& recorder() {
  static auto* instance = new Recorder;
  return *instance;
}

constexpr int most_streams = 1 << 20;  // tracks of branches are numbered beyond

int thread_number() {
  static std::atomic<int> next{0};
  thread_local int number = next.fetch_add(1);
  return number;
}

}  // namespace

int64_t trace_clock() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void start_trace() {
  std::lock_guard lock(recorder().mutex);
  recorder().records.clear();
  detail::trace_on = true;
}

std::vector<TraceRecord> stop_trace() {
  detail::trace_on = false;
  std::lock_guard lock(recorder().mutex);
  std::vector<TraceRecord> records = std::exchange(recorder().records, {});
  std::sort(records.begin(), records.end(),
            [](const TraceRecord& a, const TraceRecord& b) { return a.begin < b.begin; });
  return records;
}

void set_stream_name(Stream stream, std::string name) {
  std::lock_guard lock(recorder().mutex);
  recorder().names[stream.index] = std::move(name);
}

std::string stream_name(Stream stream) {
  std::lock_guard lock(recorder().mutex);
  auto found = recorder().names.find(stream.index);
  return found == recorder().names.end() ? fmt::format("stream {}", stream.index) : found->second;
}

void TraceSpan::begin(Stream stream, const Step& step, int64_t queued, int branch) {
  record_ = std::make_unique<TraceRecord>();
  record_->name = step.name();
  record_->stream = stream;
  record_->branch = branch;
  record_->begin = trace_clock();
  record_->queued = queued == 0 ? record_->begin : queued;
  record_->thread = thread_number();
}

void TraceSpan::end() {
  record_->end = trace_clock();
  record_->active_bytes = Allocator::host().active_bytes();
  std::lock_guard lock(recorder().mutex);
  recorder().records.push_back(std::move(*record_));
}

std::string chrome_trace(const std::vector<TraceRecord>& records) {
  using nlohmann::json;
  json events = json::array();
  std::map<int, std::string> tracks;  // by number: the name
  int64_t origin = records.empty() ? 0 : records.front().begin;
  for (const TraceRecord& record : records) origin = std::min(origin, record.queued);
  auto microseconds = [&](int64_t time) { return static_cast<double>(time - origin) / 1000; };
  for (const TraceRecord& record : records) {
    int track = record.stream.index + record.branch * most_streams;
    std::string& name = tracks[track];
    if (name.empty()) {
      name = stream_name(record.stream);
      if (record.branch > 0) name += fmt::format(", branch {}", record.branch);
    }
    events.push_back({{"ph", "X"},
                      {"name", record.name},
                      {"cat", "step"},
                      {"pid", 1},
                      {"tid", track},
                      {"ts", microseconds(record.begin)},
                      {"dur", static_cast<double>(record.end - record.begin) / 1000},
                      {"args",
                       {{"queued_us", static_cast<double>(record.begin - record.queued) / 1000},
                        {"thread", record.thread}}}});
    events.push_back({{"ph", "C"},
                      {"name", "memory in use"},
                      {"pid", 1},
                      {"ts", microseconds(record.end)},
                      {"args", {{"bytes", record.active_bytes}}}});
  }
  for (const auto& [track, name] : tracks) {
    events.push_back({{"ph", "M"},
                      {"name", "thread_name"},
                      {"pid", 1},
                      {"tid", track},
                      {"args", {{"name", name}}}});
  }
  events.push_back(
      {{"ph", "M"}, {"name", "process_name"}, {"pid", 1}, {"args", {{"name", "rill"}}}});
  return json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

}  // namespace rill
