import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLibrary } from "../../../src/ffi/foreign.ts";
import { createGpuEngine } from "../../../src/engine/gpu/index.ts";
import type { GpuEngineOptions } from "../../../src/engine/gpu/index.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { messageOf } from "../../../src/util/errors.ts";

/** Where Debian's Chromium keeps SwiftShader, a Vulkan device in software, and a loader that finds it. */
const CHROMIUM = "/usr/lib/chromium";

/** Settings of a process of its own that is to find the device in software, unless this machine's are set. */
export function softwareDeviceVariables(): Readonly<Record<string, string>> {
  return {
    VK_ICD_FILENAMES: join(CHROMIUM, "vk_swiftshader_icd.json"),
    LD_LIBRARY_PATH: CHROMIUM,
    XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? mkdtempSync(join(tmpdir(), "anecdote-gpu-")),
  };
}

/** Whether what takes a device in software minutes is to run too: `npm run conformance:gpu`. */
export const RUNS_ALL_ON_GPU = process.env["ANECDOTE_TEST_GPU_ALL"] === "1";

/** koffi unloads a library that nothing refers to. */
const kept: unknown[] = [];

let asked: { readonly reason: string | undefined } | undefined;

/**
 * Makes SwiftShader this process's only Vulkan device, unless `ANECDOTE_TEST_GPU=real` asks for the machine's own.
 * Gives the reason why tests of the GPU engine have to be skipped, if there is one.
 */
export function openSoftwareDevice(): string | undefined {
  asked ??= { reason: tryDevice() };
  return asked.reason;
}

function tryDevice(): string | undefined {
  if (process.env["ANECDOTE_TEST_GPU"] !== "real" && process.platform === "linux") {
    const variables = softwareDeviceVariables();
    if (!existsSync(variables["VK_ICD_FILENAMES"] ?? ""))
      return "Chromium's SwiftShader is not installed: apt-get install chromium";
    Object.assign(process.env, variables);
    // The provider asks for the loader by its name, and finds the one that is loaded already.
    kept.push(openLibrary(join(CHROMIUM, "libvulkan.so.1"), undefined, { isGlobal: true }));
  }
  try {
    void createGpuEngine().close();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The engine whose every op runs on the device: one that falls back to the processor is refused. */
export function strictEngine(options: GpuEngineOptions = {}): Engine {
  return createGpuEngine({ hostOps: "refuse", ...options });
}
