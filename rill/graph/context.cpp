#include "rill/graph/context.h"

#include <array>
#include <atomic>

#include "rill/base/require.h"

namespace rill {

namespace {

std::atomic<int> next_stream{0};

/// A trivially constructible record, so that reading it costs one instruction.
struct Defaults {
  Device device;
  std::array<int, device_type_count> stream{-1, -1, -1};  // by device type; -1: none yet
};
thread_local constinit Defaults defaults;

const char* type_name(DeviceType type) {
  constexpr const char* names[device_type_count] = {"cpu", "gpu", "null"};
  return names[static_cast<int>(type)];
}

}  // namespace

int device_count(DeviceType type) { return type == DeviceType::gpu ? 0 : 1; }

void require_device(const char* operation, Device device) {
  require(device.index >= 0 && device.index < device_count(device.type),
          "[{}] there is no {} device {}: this process can use {} of them", operation,
          type_name(device.type), device.index, device_count(device.type));
}

Device default_device() { return defaults.device; }

void set_default_device(Device device) {
  require_device("set_default_device", device);
  defaults.device = device;
}

Stream default_stream(Device device) {
  int& index = defaults.stream[static_cast<int>(device.type)];
  if (index < 0) [[unlikely]] {
    require_device("default_stream", device);
    index = next_stream.fetch_add(1, std::memory_order_relaxed);
  }
  return {device, index};
}

void set_default_stream(Stream stream) {
  require_device("set_default_stream", stream.device);
  defaults.stream[static_cast<int>(stream.device.type)] = stream.index;
}

Stream new_stream(Device device) {
  require_device("new_stream", device);
  default_stream(device);  // so that the first thread's default keeps index 0
  return {device, next_stream.fetch_add(1, std::memory_order_relaxed)};
}

int stream_count() { return next_stream.load(std::memory_order_relaxed); }

Stream to_stream(const StreamOrDevice& where) {
  if (const auto* stream = std::get_if<Stream>(&where)) return *stream;
  if (const auto* device = std::get_if<Device>(&where)) {
    if (device->index != 0) [[unlikely]]
      require_device("stream", *device);
    return default_stream(*device);
  }
  const Defaults& own = defaults;
  int index = own.stream[static_cast<int>(own.device.type)];
  return index >= 0 ? Stream{own.device, index} : default_stream(own.device);
}

StreamScope::StreamScope(const StreamOrDevice& where) : device_(defaults.device) {
  Stream stream = to_stream(where);
  require_device("stream", stream.device);
  stream_ = default_stream(stream.device);
  set_default_stream(stream);
  defaults.device = stream.device;
}

StreamScope::~StreamScope() {
  defaults.stream[static_cast<int>(stream_.device.type)] = stream_.index;
  defaults.device = device_;
}

}  // namespace rill
