import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * Paths below `root` of the modules that a process of Node loads, in order; `folder` holds the log and the script.
 * `words` are what Node is started with behind the hooks: a script and its arguments.
 */
export function loadedModules(
  folder: string,
  root: string,
  words: readonly string[],
): readonly string[] {
  const log = join(folder, "loaded.txt");
  const hooks = `import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(log)}, url + "\\n");
      return next(url, context);
    }`;
  writeFileSync(log, "");
  const script = join(folder, "hooks.mjs");
  writeFileSync(
    script,
    `import { register } from "node:module";
     register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));`,
  );
  execFileSync(process.execPath, ["--import", pathToFileURL(script).href, ...words], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const prefix = `${pathToFileURL(root).href}/`;
  return readFileSync(log, "utf8")
    .split("\n")
    .filter((url) => url.startsWith(prefix))
    .map((url) => url.slice(prefix.length));
}
