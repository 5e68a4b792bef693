// Names of devices and streams. They own nothing and are bound to no thread.
#pragma once

#include <compare>
#include <cstdint>

namespace rill {

/// `null` runs nothing and owns no memory: plans are tested with it (rill/null).
enum class DeviceType : uint8_t { cpu, gpu, null };
inline constexpr int device_type_count = 3;

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  auto operator<=>(const Device&) const = default;
};

/// An in-order queue of a device, by name. `index` is unique within the process.
struct Stream {
  Device device;
  int index = 0;
  auto operator<=>(const Stream&) const = default;
};

}  // namespace rill
