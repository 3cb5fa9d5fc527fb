import { bindFunctions, foreign } from "../../ffi/foreign.ts";
import type { ForeignUse } from "../../ffi/foreign.ts";
import type { GpuDevice } from "./gpu-device.ts";

const VULKAN: ForeignUse = {
  code: "engine.gpu.vulkan",
  subject: "the list of Vulkan devices",
  withoutKoffi: "Install it: npm install koffi.",
  withoutLibrary: "Install the Vulkan loader (Debian's libvulkan1) and the driver of the GPU.",
  withoutFunctions: "The Vulkan loader is older than 1.0.",
};

/** The Vulkan loader as Dawn opens it. */
const LOADER = "libvulkan.so.1";

const FUNCTIONS = {
  vkCreateInstance: "int vkCreateInstance(const void *, const void *, _Out_ void **)",
  vkDestroyInstance: "void vkDestroyInstance(void *, const void *)",
  vkEnumeratePhysicalDevices: "int vkEnumeratePhysicalDevices(void *, _Inout_ uint32_t *, void *)",
  vkGetPhysicalDeviceProperties: "void vkGetPhysicalDeviceProperties(void *, void *)",
} as const;

/** `VkInstanceCreateInfo` is 64 bytes; its first word says what it is. Source: vulkan_core.h. */
const CREATE_INFO_BYTES = 64;
const CREATE_INFO_TYPE = 1;
/** `VkPhysicalDeviceProperties` is 824 bytes: five words, then the name. */
const PROPERTIES_BYTES = 824;
const TYPE_AT = 16;
const NAME_AT = 20;
const NAME_BYTES = 256;

/** `VkPhysicalDeviceType` in its order. */
const KINDS = ["unknown", "integrated", "discrete", "virtual", "software"] as const;

/** The devices of the Vulkan loader, in its order. Throws `FfiError` where the loader is missing. */
export function vulkanDevices(): readonly GpuDevice[] {
  const vulkan = bindFunctions(LOADER, FUNCTIONS, VULKAN);
  const info = Buffer.alloc(CREATE_INFO_BYTES);
  info.writeUInt32LE(CREATE_INFO_TYPE, 0);
  const instance: [bigint | null] = [null];
  if (vulkan.vkCreateInstance(info, null, instance) !== 0 || instance[0] === null) return [];
  try {
    const count: [number] = [0];
    if (vulkan.vkEnumeratePhysicalDevices(instance[0], count, null) !== 0) return [];
    const handles = new BigUint64Array(Math.max(1, count[0]));
    const address = foreign(VULKAN).address(new Uint8Array(handles.buffer));
    if (vulkan.vkEnumeratePhysicalDevices(instance[0], count, address) !== 0) return [];
    return Array.from(handles.subarray(0, count[0]), (handle) => {
      const properties = Buffer.alloc(PROPERTIES_BYTES);
      vulkan.vkGetPhysicalDeviceProperties(handle, properties);
      const name = properties.subarray(NAME_AT, NAME_AT + NAME_BYTES);
      const end = name.indexOf(0);
      return {
        name: name.toString("utf8", 0, end < 0 ? NAME_BYTES : end),
        kind: KINDS[properties.readUInt32LE(TYPE_AT)] ?? "unknown",
      };
    });
  } finally {
    vulkan.vkDestroyInstance(instance[0], null);
  }
}
