import { EngineError } from "../errors.ts";

/** Builds of the pinned runtime that have the provider; source: the npm package's libraries. */
const BUILDS = "macOS arm64, Linux x64, Windows x64";

/** A system whose build of the runtime has no provider for GPUs is refused before anything is tried. */
export function refuseUnbuilt(platform: string, arch: string): void {
  const key = `${platform} ${arch}`;
  if (["darwin arm64", "linux x64", "win32 x64"].includes(key)) return;
  throw refusedBuild(`there is none for ${platform} ${arch}`);
}

export function refusedBuild(reason: string): EngineError {
  return new EngineError(
    "engine.gpu.build",
    `the GPU engine needs a build of ONNX Runtime with the WebGPU provider: ${reason}`,
    { remedy: `onnxruntime-node has it for ${BUILDS}. Use --engine cpu here.` },
  );
}

export function noDevice(reason: string): EngineError {
  return new EngineError(
    "engine.gpu.device",
    `there is no GPU that the WebGPU provider can open: ${lastSentence(reason)}`,
    {
      remedy:
        process.platform === "linux"
          ? "Vulkan is needed: the loader (libvulkan.so.1, Debian's libvulkan1) and the driver of the GPU. --engine cpu runs anywhere."
          : "--engine cpu runs anywhere.",
    },
  );
}

export function lostDevice(reason: string, cause?: unknown): EngineError {
  return new EngineError("engine.gpu.lost", `the GPU is lost: ${lastSentence(reason)}`, {
    remedy:
      "What stood in its memory is gone. The last checkpoint is intact; continue from it with --resume.",
    cause,
  });
}

/** The runtime puts the place in its own source before what went wrong. */
function lastSentence(reason: string): string {
  const line = reason.trim().split("\n")[0] ?? "";
  return line.split(" was false. ").at(-1) ?? line;
}
