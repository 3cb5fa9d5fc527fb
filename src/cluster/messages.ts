import { deserialize, serialize } from "node:v8";
import type { Collective } from "../engine/collective.ts";

/** Tag of values between two members. */
const VALUE_TAG = 11;

/** A value of one member at all of them: anything that a worker thread could be sent. Their versions are the same. */
export async function broadcastValue(
  group: Collective,
  value: unknown,
  from = 0,
): Promise<unknown> {
  if (group.size === 1) return value;
  const own = group.rank === from ? serialize(value) : undefined;
  const length = Int32Array.of(own?.length ?? 0);
  await group.broadcast([length], from).wait();
  const bytes = sharedBytes(length[0] ?? 0);
  if (own !== undefined) bytes.set(own);
  await group.broadcast([bytes], from).wait();
  return own === undefined ? deserialize(Buffer.from(bytes)) : value;
}

/** The values of all members, in their order, at member 0; nothing at the others. */
export async function gatherTexts(
  group: Collective,
  text: string,
): Promise<readonly string[] | undefined> {
  const bytes = Buffer.from(text, "utf8");
  const lengths = new Int32Array(group.size);
  lengths[group.rank] = bytes.length;
  await group.allGather([lengths]).wait();
  if (group.rank !== 0) {
    await group.send([sharedCopy(bytes)], 0, VALUE_TAG).wait();
    return undefined;
  }
  const texts = [text];
  for (let member = 1; member < group.size; member++) {
    const target = sharedBytes(lengths[member] ?? 0);
    await group.receive([target], member, VALUE_TAG).wait();
    texts.push(Buffer.from(target).toString("utf8"));
  }
  return texts;
}

function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length));
}

function sharedCopy(bytes: Uint8Array): Uint8Array {
  const copy = sharedBytes(bytes.length);
  copy.set(bytes);
  return copy;
}
