import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { errorCode } from "./errors.ts";

/** When a process began, as far as the system tells. */
export type ProcessStart =
  | { readonly kind: "gone" }
  /** It runs; `mark` tells it from another process that had the same id before or after. */
  | { readonly kind: "runs"; readonly mark: string | undefined };

/** Whether a process of this machine runs, and a mark of when it began. One that ended and is not reaped is gone. */
export function processStart(pid: number): ProcessStart {
  const told = existsSync("/proc/self/stat") ? fromProc(pid) : fromPs(pid);
  return told ?? fromSignal(pid);
}

/** Linux: proc(5), the fields after the name in parentheses: state is the third, the start time the 22nd. */
function fromProc(pid: number): ProcessStart | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8);
    return told(fields[0] ?? "", `${boot}-${fields[19] ?? ""}`);
  } catch {
    return undefined; // gone, or hidden from this user
  }
}

function fromPs(pid: number): ProcessStart | undefined {
  const { status, stdout } = spawnSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
    timeout: 5000,
  });
  const [, state, began] = /^\s*(\S+)\s+(.+?)\s*$/.exec(stdout ?? "") ?? [];
  return status === 0 && state !== undefined && began !== undefined
    ? told(state, began)
    : undefined;
}

function told(state: string, mark: string): ProcessStart {
  return /^[ZXx]/.test(state) ? { kind: "gone" } : { kind: "runs", mark };
}

function fromSignal(pid: number): ProcessStart {
  try {
    process.kill(pid, 0);
    return { kind: "runs", mark: undefined };
  } catch (error) {
    return errorCode(error) === "ESRCH" ? { kind: "gone" } : { kind: "runs", mark: undefined };
  }
}
