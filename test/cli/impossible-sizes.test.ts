import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { run } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-sizes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function programWith(sizes: string): string {
  const path = join(folder, `${sizes.replaceAll(/\W+/g, "-")}.mil`);
  writeFileSync(
    path,
    `program(1.3)
{
    func main<ios18>(tensor<fp16, [${sizes}]> x) {
            tensor<fp16, [${sizes}]> y = relu(x = x)[name = string("y")];
        } -> (y);
}
`,
  );
  return path;
}

test("estimate refuses sizes that no memory holds, and none at all", async () => {
  const huge = await run("estimate", programWith("1, 1000000000, 1000000000"));
  expect(huge.code).toBe(1);
  expect(huge.stderr).toMatch(/"x" of main is fp16\[1, 1000000000, 1000000000\]: 2\.00e\+18 bytes/);
  const none = await run("estimate", programWith("1, 0, 4"));
  expect(none.stderr).toMatch(/fp16\[1, 0, 4\]: it has no elements/);
  const open = await run("estimate", programWith("1, ?, 4"));
  expect(open.stderr).toMatch(/has open sizes: .*\n.*--shape x=1x1x4/);
});

test("check names the axis that a chip refuses, whatever its size", async () => {
  const path = programWith("1, 1000000000, 1000000000");
  const { code, stdout } = await run("check", path, "--chip", "m4");
  expect(code).not.toBe(0);
  expect(stdout).toMatch(/axis 1 of x \[1, 1000000000, 1000000000\] is 1000000000 long/);
});

test("run refuses sizes beyond this machine's memory before it draws numbers", async () => {
  const path = programWith("1, 1000000000, 1000000000");
  for (const engine of ["cpu", "reference", "sim:m4"]) {
    const { code, stderr } = await run("run", path, "--random", "1", "--engine", engine);
    expect(code).toBe(2);
    expect(stderr).toMatch(/4\.00e\+18 bytes, this machine has/);
  }
});

test("a batch of more tokens than MIL counts is refused by name", async () => {
  const { stderr } = await run("plan", "--preset", "stories110M", "--batch-size", "1000000000");
  expect(stderr).toMatch(/1000000000 sequences of 1024 tokens are 1024000000000 tokens/);
});
