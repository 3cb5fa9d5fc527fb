import { messageOf } from "../../util/errors.ts";
import type { GpuDevice } from "./gpu-device.ts";
import { metalDevice } from "./metal-device.ts";
import { vulkanDevices } from "./vulkan-devices.ts";

export interface GpuDevices {
  /** What the provider talks to below. */
  readonly api: "Metal" | "Vulkan" | "Direct3D 12";
  /** In the system's order; the provider takes the first that it can, a real one before one in software. */
  readonly devices: readonly GpuDevice[];
  /** Why they are not known. */
  readonly reason?: string;
}

/** The GPUs of this machine, asked of the system: ONNX Runtime does not tell which one it opened. */
export function findGpuDevices(): GpuDevices {
  switch (process.platform) {
    case "darwin":
      return listed("Metal", () => {
        const device = metalDevice();
        return device === undefined ? [] : [device];
      });
    case "linux":
      return listed("Vulkan", vulkanDevices);
    default:
      return {
        api: "Direct3D 12",
        devices: [],
        reason: "this system's list of devices is not asked for",
      };
  }
}

/** Whether every device that is known is one in software. */
export function isSoftware({ devices }: GpuDevices): boolean {
  return devices.length > 0 && devices.every(({ kind }) => kind === "software");
}

/** "SwiftShader Device (software), Vulkan". */
export function describeDevices(): string {
  const found = findGpuDevices();
  const names = found.devices.map(({ name, kind }) =>
    kind === "software" ? `${name} (in software)` : name,
  );
  return `${names.length === 0 ? "GPU" : names.join(" or ")}, ${found.api}`;
}

function listed(api: GpuDevices["api"], list: () => readonly GpuDevice[]): GpuDevices {
  try {
    return { api, devices: list() };
  } catch (error) {
    return { api, devices: [], reason: messageOf(error) };
  }
}
