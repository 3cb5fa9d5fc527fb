import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { launchedProcess } from "../../src/cluster/launched.ts";
import { layoutOf, placeOf, rankOf } from "../../src/cluster/layout.ts";
import { libraryPaths, loadMpi } from "../../src/cluster/mpi/library.ts";
import { chunksOf } from "../../src/cluster/mpi/chunks.ts";
import { partOf } from "../../src/engine/collective.ts";

describe("what the launcher says", () => {
  it("is read of mpirun and of srun with PMIx; alone it is nothing", () => {
    const mpirun = {
      OMPI_COMM_WORLD_RANK: "3",
      OMPI_COMM_WORLD_SIZE: "4",
      OMPI_COMM_WORLD_LOCAL_RANK: "1",
      OMPI_COMM_WORLD_LOCAL_SIZE: "2",
      PMIX_RANK: "3",
    };
    expect(launchedProcess(mpirun)).toEqual({ rank: 3, size: 4, localRank: 1, localSize: 2 });
    expect(
      launchedProcess({
        PMIX_RANK: "5",
        SLURM_STEP_NUM_TASKS: "7",
        SLURM_STEP_TASKS_PER_NODE: "2(x3),1",
        SLURM_NODEID: "2",
        SLURM_LOCALID: "1",
      }),
    ).toEqual({ rank: 5, size: 7, localRank: 1, localSize: 2 });
    expect(launchedProcess({})).toBeUndefined();
    expect(launchedProcess({ ...mpirun, OMPI_COMM_WORLD_SIZE: "1" })).toBeUndefined();
    expect(launchedProcess({ PMI_RANK: "0", PMI_SIZE: "1" })).toBeUndefined();
  });

  it("refuses MPICH's launcher by name: its processes would each train alone", () => {
    expect(() => launchedProcess({ PMI_RANK: "0", PMI_SIZE: "4" })).toThrow(
      /one of 4 processes that MPICH's mpiexec/,
    );
  });
});

describe("Open MPI's library", () => {
  it("is told how to get where there is none", () => {
    expect(() => loadMpi(["/nowhere/libmpi.so"])).toThrow(/brew install open-mpi/);
    expect(() => loadMpi(["/nowhere/libmpi.so"])).toThrow(/apt-get install openmpi-bin/);
    expect(libraryPaths({ ANECDOTE_MPI_LIBRARY: "/my/libmpi.so" })).toEqual(["/my/libmpi.so"]);
    expect(libraryPaths({}, "darwin")).toContain("/opt/homebrew/lib/libmpi.dylib");
  });

  const compiler = spawnSync("cc", ["--version"]).error === undefined;
  it.skipIf(!compiler)(
    `is refused by name where it is MPICH's${compiler ? "" : " (skipped: no C compiler)"}`,
    () => {
      const folder = mkdtempSync(join(tmpdir(), "anecdote-mpich-"));
      try {
        const library = join(folder, "libmpi.so");
        writeFileSync(
          join(folder, "mpich.c"),
          `#include <string.h>
int MPI_Get_library_version(char *version, int *length) {
  strcpy(version, "MPICH Version:\\t4.0.2\\nMPICH Release date: ...");
  *length = (int)strlen(version);
  return 0;
}
`,
        );
        const { status } = spawnSync("cc", [
          "-shared",
          "-fPIC",
          "-o",
          library,
          join(folder, "mpich.c"),
        ]);
        expect(status).toBe(0);
        expect(() => loadMpi([library])).toThrow(/of MPICH's kind \("MPICH Version: 4.0.2"\)/);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});

describe("a layout", () => {
  it("gives every process a place of its own, and takes whole pipelines only", () => {
    const layout = layoutOf(12, 3);
    const ranks = Array.from({ length: 12 }, (_, rank) => rankOf(placeOf(rank, layout), layout));
    expect(ranks).toEqual([...ranks.keys()]);
    expect(placeOf(4, layout)).toEqual({ replica: 1, stage: 1 });
    expect(() => layoutOf(6, 4)).toThrow(/may be 1, 2, 3, 6/);
  });
});

describe("chunks", () => {
  it("hold every element once, each at the member whose part it is", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 300 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 120 }),
        (lengths, size, elementCount) => {
          const seen = lengths.map((length) => new Int32Array(length).fill(-1));
          for (const { segments, counts } of chunksOf(
            lengths.map((length) => ({ length })),
            size,
            elementCount,
          )) {
            segments.forEach((pieces, member) => {
              let count = 0;
              for (const { array, first, end } of pieces) {
                for (let i = first; i < end; i++) {
                  if (seen[array]?.[i] !== -1) return expect.fail("an element travels twice");
                  const row = seen[array];
                  if (row !== undefined) row[i] = member;
                }
                count += end - first;
              }
              expect(counts[member]).toBe(count);
            });
          }
          lengths.forEach((length, array) => {
            for (let member = 0; member < size; member++) {
              const [first, end] = partOf(length, member, size);
              expect(seen[array]?.subarray(first, end).every((owner) => owner === member)).toBe(
                true,
              );
            }
          });
        },
      ),
    );
  });
});
