import type { Collective, Exchange, ExchangedArray } from "../../src/engine/collective.ts";

interface Meeting {
  readonly arrays: (readonly ExchangedArray[] | undefined)[];
  readonly done: Promise<void>;
  readonly finish: () => void;
  isDone: boolean;
}

/** Groups whose members run in one process: calls meet in the order in which each member makes them. */
export function memoryGroup(size: number): readonly Collective[] {
  const meetings: Meeting[] = [];
  const counts = Array.from({ length: size }, () => 0);
  const mail = new Map<string, (readonly ExchangedArray[])[]>();

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
    arrays: readonly ExchangedArray[],
    work: (all: readonly (readonly ExchangedArray[])[]) => void,
  ): Exchange {
    const meeting = meetingOf(rank);
    meeting.arrays[rank] = arrays;
    const all = meeting.arrays.flatMap((one) => (one === undefined ? [] : [one]));
    if (all.length === size) {
      work(all);
      meeting.isDone = true;
      meeting.finish();
    }
    return { isDone: () => meeting.isDone, wait: () => meeting.done };
  }

  function sumOf(all: readonly (readonly ExchangedArray[])[], index: number): Float64Array {
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
    reduceScatter: (source, target) =>
      meet(rank, [source, target], (all) => {
        const sum = sumOf(all, 0);
        all.forEach(([, part], member) => {
          const length = part?.length ?? 0;
          part?.set(sum.subarray(member * length, (member + 1) * length));
        });
      }),
    allGather: (source, target) =>
      meet(rank, [source, target], (all) => {
        for (const [, whole] of all)
          all.forEach(([part], member) => {
            if (part !== undefined) whole?.set(part, member * part.length);
          });
      }),
    send: (buffers, to, tag = 0) => {
      const key = `${rank} ${to} ${tag}`;
      mail.set(key, [...(mail.get(key) ?? []), buffers.map((buffer) => buffer.slice())]);
      return { isDone: () => true, wait: () => Promise.resolve() };
    },
    receive: (buffers, sender, tag = 0) => {
      const take = (): boolean => {
        const letter = mail.get(`${sender} ${rank} ${tag}`)?.shift();
        buffers.forEach((buffer, index) => buffer.set(letter?.[index] ?? []));
        return letter !== undefined;
      };
      let isDone = take();
      return {
        isDone: () => (isDone ||= take()),
        wait: async () => {
          while (!(isDone ||= take())) await new Promise((resolve) => setImmediate(resolve));
        },
      };
    },
    barrier: () => meet(rank, [], () => undefined),
  }));
}
