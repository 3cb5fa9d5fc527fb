import { partOf } from "../../src/engine/collective.ts";
import type { Collective, Exchange } from "../../src/engine/collective.ts";
import type { BufferView } from "../../src/engine/engine.ts";

interface Meeting {
  readonly arrays: (readonly BufferView[] | undefined)[];
  readonly done: Promise<void>;
  readonly finish: () => void;
  isDone: boolean;
}

function cannotBlock(): never {
  throw new Error("members of one thread cannot wait for each other without turns");
}

/** Groups whose members run in one process: calls meet in the order in which each member makes them. */
export function memoryGroup(size: number): readonly Collective[] {
  const meetings: Meeting[] = [];
  const counts = Array.from({ length: size }, () => 0);
  const mail = new Map<string, (readonly BufferView[])[]>();

  function meetingOf(rank: number): Meeting {
    const number = counts[rank] ?? 0;
    counts[rank] = number + 1;
    const known = meetings[number];
    if (known !== undefined) return known;
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const made: Meeting = {
      arrays: Array.from({ length: size }, () => undefined),
      done,
      finish,
      isDone: false,
    };
    meetings[number] = made;
    return made;
  }

  /** The last member to come does the work, with the arrays in the members' order. */
  function meet(
    rank: number,
    arrays: readonly BufferView[],
    work: (all: readonly (readonly BufferView[])[]) => void,
  ): Exchange {
    const meeting = meetingOf(rank);
    meeting.arrays[rank] = arrays;
    const all = meeting.arrays.flatMap((one) => (one === undefined ? [] : [one]));
    if (all.length === size) {
      work(all);
      meeting.isDone = true;
      meeting.finish();
    }
    return { isDone: () => meeting.isDone, wait: () => meeting.done, block: cannotBlock };
  }

  function sumOf(all: readonly (readonly BufferView[])[], index: number): Float64Array {
    const sum = new Float64Array(all[0]?.[index]?.length ?? 0);
    for (const arrays of all)
      arrays[index]?.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + value));
    return sum;
  }

  return Array.from({ length: size }, (_, rank): Collective => ({
    rank,
    size,
    allReduce: (buffers) =>
      meet(rank, buffers, (all) =>
        buffers.forEach((__, index) => {
          const sum = sumOf(all, index);
          for (const arrays of all) arrays[index]?.set(sum);
        }),
      ),
    reduceScatter: (buffers) =>
      meet(rank, buffers, (all) =>
        buffers.forEach((buffer, index) => {
          const sum = sumOf(all, index);
          all.forEach((arrays, member) => {
            const [first, end] = partOf(buffer.length, member, size);
            arrays[index]?.set(sum.subarray(first, end), first);
          });
        }),
      ),
    allGather: (buffers) =>
      meet(rank, buffers, (all) =>
        buffers.forEach((buffer, index) => {
          const whole = all.map((arrays, member) =>
            arrays[index]?.slice(...partOf(buffer.length, member, size)),
          );
          for (const arrays of all) {
            whole.forEach((part, member) => {
              if (part !== undefined)
                arrays[index]?.set(part, partOf(buffer.length, member, size)[0]);
            });
          }
        }),
      ),
    broadcast: (buffers, from) =>
      meet(rank, buffers, (all) => {
        for (const arrays of all)
          arrays.forEach((array, index) => array.set(all[from]?.[index] ?? []));
      }),
    send: (buffers, to, tag = 0) => {
      const key = `${rank} ${to} ${tag}`;
      mail.set(key, [...(mail.get(key) ?? []), buffers.map((buffer) => buffer.slice())]);
      return { isDone: () => true, wait: () => Promise.resolve(), block: () => undefined };
    },
    receive: (buffers, sender, tag = 0) => {
      const take = (): boolean => {
        const letter = mail.get(`${sender} ${rank} ${tag}`)?.shift();
        buffers.forEach((buffer, index) => buffer.set(letter?.[index] ?? []));
        return letter !== undefined;
      };
      let isDone = take();
      return {
        block: cannotBlock,
        isDone: () => (isDone ||= take()),
        wait: async () => {
          while (!(isDone ||= take())) await new Promise((resolve) => setImmediate(resolve));
        },
      };
    },
    barrier: () => meet(rank, [], () => undefined),
  }));
}
