import { hostname } from "node:os";
import { z } from "zod";
import type { Collective } from "../engine/collective.ts";
import { ClusterError } from "./errors.ts";
import { broadcastValue, gatherTexts } from "./messages.ts";

/** In memory of the other byte order it reads as another number. */
const BYTE_ORDER = 0x01020304;
const SWAPPED_ORDER = 0x04030201;
const LONGEST_VALUE = 60;

/** What members must have in common, by name; what is absent at a member is not compared there. */
export type Facts = Readonly<Record<string, unknown>>;

const memberSchema = z.object({ host: z.string(), facts: z.record(z.string(), z.unknown()) });
export type MemberFacts = z.infer<typeof memberSchema>;

/**
 * Compares what the members say of themselves. Throws `ClusterError` `cluster.disagreement`, the same at every member,
 * that names each member which differs from rank 0 and in what, with both values. Returns the members' hosts.
 */
export async function agree(group: Collective, facts: Facts): Promise<readonly string[]> {
  await requireByteOrder(group);
  const texts = await gatherTexts(group, JSON.stringify({ host: hostname(), facts }));
  const members = texts?.map((text) => memberSchema.parse(JSON.parse(text)));
  const verdict = await broadcastValue(
    group,
    members && { differences: differencesOf(members), hosts: members.map(({ host }) => host) },
  );
  const { differences, hosts } = verdictSchema.parse(verdict);
  if (differences.length > 0) {
    throw new ClusterError("cluster.disagreement", differences.join("\n"), {
      remedy:
        "All processes of a run need the same Anecdote, the same settings and the same data; nothing was trained.",
    });
  }
  return hosts;
}

const verdictSchema = z.object({ differences: z.array(z.string()), hosts: z.array(z.string()) });

async function requireByteOrder(group: Collective): Promise<void> {
  const orders = new Int32Array(group.size);
  orders[group.rank] = ownByteOrder();
  await group.allGather([orders]).wait();
  const other = orders.findIndex((order) => order !== BYTE_ORDER);
  if (other >= 0) throw otherByteOrder(other, orders[other] ?? 0);
}

/** The number as this machine sends it; a test may have it sent as one of the other byte order would. */
function ownByteOrder(): number {
  return process.env["ANECDOTE_TEST_BYTE_ORDER"] === "other" ? SWAPPED_ORDER : BYTE_ORDER;
}

/** The refusal of a member whose numbers arrive otherwise. */
export function otherByteOrder(rank: number, found: number): ClusterError {
  return new ClusterError(
    "cluster.byte_order",
    `rank ${rank} has another byte order: 0x${hex(BYTE_ORDER)} arrives as 0x${hex(found)}`,
    { remedy: "All machines of a run need processors of one byte order." },
  );
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}

/** A sentence for each member that differs from the first, naming what differs. */
export function differencesOf(members: readonly MemberFacts[]): readonly string[] {
  const [first, ...others] = members;
  if (first === undefined) return [];
  return others.flatMap((member, index) => {
    const names = Object.keys(first.facts).filter((name) => {
      const [a, b] = [first.facts[name], member.facts[name]];
      return isSaid(a) && isSaid(b) && JSON.stringify(a) !== JSON.stringify(b);
    });
    if (names.length === 0) return [];
    const list = names.map(
      (name) =>
        `${name} is ${shown(member.facts[name])} there and ${shown(first.facts[name])} here`,
    );
    return `rank ${index + 1} on ${member.host} differs from rank 0 on ${first.host}: ${list.join("; ")}`;
  });
}

function isSaid(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
