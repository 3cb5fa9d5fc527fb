import { didYouMean } from "../../util/nearest.ts";
import { ClusterError } from "../errors.ts";

/** How machines are joined. */
export interface Link {
  readonly name: string;
  /** Bytes a millisecond that one machine sends, and receives at the same time. */
  readonly bytesPerMs: number;
  /** From one program to the other. */
  readonly latencyMs: number;
  /** Of the processor, for each message. */
  readonly messageMs: number;
  /** Where the figures come from. */
  readonly source: string;
}

const GIGABIT = 1e9 / 8 / 1000;
/** Of TCP over Ethernet with 1,500 bytes a frame: 1,448 of 1,538 bytes on the wire are the sender's. */
const TCP_SHARE = 1448 / 1538;

/**
 * Nothing of these is measured by this project: the rate is the nominal one times a share, the latency what such links
 * usually have. Give your own, as --link 9.4gbit:0.03ms, after measuring it.
 */
export const LINKS: readonly Link[] = [
  link("1gbe", GIGABIT * TCP_SHARE, 0.1, "nominal 1 Gbit/s, TCP's share"),
  link("2.5gbe", 2.5 * GIGABIT * TCP_SHARE, 0.08, "nominal 2.5 Gbit/s, TCP's share"),
  link("10gbe", 10 * GIGABIT * TCP_SHARE, 0.05, "nominal 10 Gbit/s, TCP's share"),
  link(
    "thunderbolt4",
    20 * GIGABIT * 0.85,
    0.05,
    "IP over Thunderbolt has 20 of the 40 Gbit/s; 85 % of them",
  ),
  link(
    "thunderbolt5",
    80 * GIGABIT * 0.6,
    0.04,
    "80 Gbit/s each way; 60 % of them through one TCP stream",
  ),
  link(
    "wifi6",
    1.2 * GIGABIT * 0.6,
    3,
    "1.2 Gbit/s on two streams; 60 % of them, shared both ways",
  ),
];

function link(name: string, bytesPerMs: number, latencyMs: number, source: string): Link {
  return { name, bytesPerMs, latencyMs, messageMs: 0.01, source };
}

/** A link by name, or as RATE:LATENCY: "9.4gbit:0.03ms", "800mbit:1ms". Throws `ClusterError` `cluster.link`. */
export function linkNamed(text: string): Link {
  const known = LINKS.find(({ name }) => name === text.toLowerCase());
  if (known !== undefined) return known;
  const [, rate, unit, latency] = /^([\d.]+)(gbit|mbit):([\d.]+)ms$/i.exec(text) ?? [];
  if (rate !== undefined && latency !== undefined && Number(rate) > 0) {
    const bytesPerMs = Number(rate) * (unit?.toLowerCase() === "gbit" ? GIGABIT : GIGABIT / 1000);
    return { ...link(text, bytesPerMs, Number(latency), "as given") };
  }
  const names = LINKS.map(({ name }) => name);
  throw new ClusterError("cluster.link", `there is no link "${text}".${didYouMean(text, names)}`, {
    remedy: `Links: ${names.join(", ")}, or a rate and a latency such as 9.4gbit:0.03ms.`,
  });
}
