import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { decodeE5Analytics } from "../../src/inspect/e5/index.ts";
import { decodeHwx, hwxListing, type HwxFile } from "../../src/inspect/hwx/index.ts";
import { totalCoverage } from "../../src/inspect/hwx/registers.ts";
import { openFileSource } from "../../src/util/byte-source.ts";

const samples = fileURLToPath(new URL("../../../shared/samples/", import.meta.url));

function filesIn(folder: string, pattern: RegExp): string[] {
  const path = join(samples, folder);
  return existsSync(path) ? readdirSync(path).filter((name) => pattern.test(name)) : [];
}

function decodeFile(name: string): HwxFile {
  const source = openFileSource(join(samples, "hwx", name));
  try {
    return decodeHwx(source);
  } finally {
    source.close();
  }
}

const programs = filesIn("hwx", /\.(hwx|ane)$/);
const analytics = filesIn("mil", /analytics.*\.mil$/);

describe.skipIf(programs.length === 0)(
  "programs made by Apple's compiler (skipped: no samples)",
  () => {
    test.each(programs)("%s: every word and every byte is accounted for", (name) => {
      const file = decodeFile(name);
      const total = totalCoverage(file.tasks.map((task) => task.coverage));
      expect(total.headerWords + total.recordWords + total.writtenWords).toBe(total.wordCount);
      expect(file.stream.filter((part) => part.kind === "unclaimed")).toEqual([]);
      const text = file.segments
        .flatMap((segment) => segment.sections)
        .find((section) => section.name === "__text");
      expect(file.stream.reduce((sum, part) => sum + part.wordCount, 0) * 4).toBe(text?.byteLength);
      expect(file.layout.filter((part) => !part.accounted)).toEqual([]);
      expect(file.warnings).toEqual([]);
    });

    test.each(programs)(
      "%s: at least 90 %% of the written words carry a register and a field",
      (name) => {
        const file = decodeFile(name);
        const { namedWords, writtenWords } = totalCoverage(file.tasks.map((task) => task.coverage));
        expect(namedWords / writtenWords).toBeGreaterThanOrEqual(0.9);
      },
    );

    test.each(programs)(
      "%s: every task has an operation, and operands lie in named buffers",
      (name) => {
        const file = decodeFile(name);
        for (const { meaning } of file.tasks) {
          expect(meaning.op).not.toBe("unknown");
          for (const { place } of meaning.operands) {
            if (place.where === "dram") expect(place.role).not.toBe("unknown");
          }
        }
        expect(hwxListing(file, { registers: true }).length).toBeGreaterThan(1000);
      },
    );

    test("one network compiled for several chips means the same on each", () => {
      const twins = programs.filter((name) => name.includes("matmul")).map(decodeFile);
      const meanings = twins.map(({ tasks }) => {
        const [task] = tasks;
        const places = task?.meaning.operands.map(({ place }) =>
          place.where === "dram" ? place.name : place.where,
        );
        return [task?.meaning.op, task?.meaning.multiplyAccumulates, places?.join(" ")].join(" ");
      });
      expect(new Set(meanings).size).toBeLessThanOrEqual(1);
    });
  },
);

describe.skipIf(analytics.length === 0)(
  "analytics texts of the E5 runtime (skipped: no samples)",
  () => {
    test.each(analytics)("%s: operations with the back end the runtime chose", (name) => {
      const source = openFileSource(join(samples, "mil", name));
      const { operations, costsMs } = decodeE5Analytics(source);
      source.close();
      expect(operations.length).toBeGreaterThan(3);
      expect(operations.every((one) => one.selectedBackend !== null)).toBe(true);
      expect(costsMs["Launch_ane_ms"]).toBe(0.125);
    });
  },
);
