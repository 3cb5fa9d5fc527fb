import { existsSync, realpathSync } from "node:fs";

/** Whether two paths lead to the same file or folder, and it is there. */
export function isSamePath(a: string, b: string): boolean {
  return existsSync(a) && existsSync(b) && realpathSync(a) === realpathSync(b);
}
