// Hosts of their own on one machine: what bench/cluster.mjs and bench/cluster-stress.mjs start processes in.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What mpirun needs to start more processes than cores, as root too. */
export const MPI_ENVIRONMENT = {
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
};

/** What runs now, by the groups of its processes: Ctrl-C ends them too. */
const groups = new Set();
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => {
    for (const pid of groups) process.kill(-pid, "SIGKILL");
    process.exitCode = 130;
  });

/**
 * Runs a command to its end and resolves to what it printed. One that is not done after `limitMs` is asked where its
 * processes are, ended, and rejects with that.
 */
export function run(command, words, { env = {}, limitMs = 900_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: { ...process.env, ...MPI_ENVIRONMENT, ...env },
    });
    const { pid = 0 } = child;
    groups.add(pid);
    let stdout = "";
    let stderr = "";
    let places;
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    const timer = setTimeout(() => {
      places = placesOf(pid);
      process.kill(-pid, "SIGTERM");
      setTimeout(() => {
        if (child.exitCode === null) process.kill(-pid, "SIGKILL");
      }, 3000).unref();
    }, limitMs);
    child.on("close", (code) => {
      clearTimeout(timer);
      groups.delete(pid);
      if (code === 0 && places === undefined) resolve(stdout);
      else {
        const why = places === undefined ? `ended with ${code}` : `did not end:\n${places}`;
        reject(new Error(`${command} ${words.join(" ")} ${why}\n${stdout}\n${stderr}`));
      }
    });
  });
}

/** Where a process and its descendants are: their words, and of each thread its state and what of the kernel it waits in. */
export function placesOf(root) {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      parents.set(Number(pid), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const isBelow = (pid) =>
    pid === root || (parents.has(pid) && parents.get(pid) > 1 && isBelow(parents.get(pid)));
  const lines = [];
  for (const pid of [...parents.keys()].filter(isBelow)) {
    try {
      lines.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`);
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const at = `/proc/${pid}/task/${thread}`;
        const [, state] = /State:\s+(\S+)/.exec(readFileSync(`${at}/status`, "utf8")) ?? [];
        lines.push(
          `  ${thread} ${readFileSync(`${at}/comm`, "utf8").trim()} ${state} ${readFileSync(`${at}/wchan`, "utf8")}`,
        );
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return lines.join("\n");
}

/** Of this process: the system removes a namespace and its links some time after it was asked to. */
let namespaceSets = 0;

/** Namespaces joined by a bridge, each with an address of its own and a link limited by a token bucket. */
export class Namespaces {
  /** `megabits`: of each link, both ways; `folder`: for the host file and the agent. */
  constructor(count, megabits, folder) {
    this.folder = folder;
    this.id = `${process.pid % 100000}${String.fromCharCode(97 + (namespaceSets++ % 26))}`;
    this.prefix = `anecdote-${this.id}`;
    this.names = Array.from({ length: count }, (_, index) => `${this.prefix}-${index}`);
    this.bridge = `ab${this.id}`;
    const { stdout } = spawnSync("ip", ["-o", "addr", "show", "to", "10.213.7.0/24"], {
      encoding: "utf8",
    });
    const [, taken] = /^\d+: (\S+)/.exec(stdout ?? "") ?? [];
    if (taken !== undefined)
      throw new Error(
        `${taken} has an address of 10.213.7.0/24 already, perhaps of a run that was killed: ip link del ${taken}`,
      );
    try {
      this.#make(megabits);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  #make(megabits) {
    const ip = (...words) => this.must("ip", words);
    ip("link", "add", this.bridge, "type", "bridge");
    ip("addr", "add", "10.213.7.254/24", "dev", this.bridge);
    ip("link", "set", this.bridge, "up");
    this.names.forEach((name, index) => {
      const [outer, inner] = [`ao${this.id}${index}`, `ai${this.id}${index}`];
      ip("netns", "add", name);
      ip("link", "add", outer, "type", "veth", "peer", "name", inner);
      ip("link", "set", inner, "netns", name);
      ip("link", "set", outer, "master", this.bridge);
      ip("link", "set", outer, "up");
      ip("-n", name, "addr", "add", `10.213.7.${index + 1}/24`, "dev", inner);
      ip("-n", name, "link", "set", inner, "up");
      ip("-n", name, "link", "set", "lo", "up");
      const limit = [
        "root",
        "tbf",
        "rate",
        `${megabits}mbit`,
        "burst",
        "256kb",
        "latency",
        "200ms",
      ];
      this.must("tc", ["-n", name, "qdisc", "add", "dev", inner, ...limit]);
      this.must("tc", ["qdisc", "add", "dev", outer, ...limit]);
    });
  }

  must(command, words) {
    const { status, stderr, error } = spawnSync(command, words, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command} ${words.join(" ")}: ${error?.message ?? stderr}`);
  }

  /** Host file, and the agent by which mpirun's daemon is started inside a namespace. */
  mpirunWords() {
    const hosts = join(this.folder, "hosts");
    writeFileSync(hosts, this.names.map((_, index) => `10.213.7.${index + 1} slots=1\n`).join(""));
    const agent = join(this.folder, "agent.sh");
    writeFileSync(
      agent,
      `#!/bin/sh\n# Called as ssh is: options, a host, a command.\nwhile [ "\${1#-}" != "$1" ]; do shift; done\nhost=$1; shift\nindex=$((\${host##*.} - 1))\n# Hosts have folders of their own: daemons of one host name that share one race for it, and then wait for ever.\nexport TMPDIR=${this.folder}/host-$index\nmkdir -p "$TMPDIR"\nexec ip netns exec ${this.prefix}-$index sh -c "$*"\n`,
    );
    chmodSync(agent, 0o755);
    return [
      ...[
        "--hostfile",
        hosts,
        "--mca",
        "plm_rsh_agent",
        agent,
        "--mca",
        "plm_rsh_no_tree_spawn",
        "1",
      ],
      ...["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "10.213.7.0/24"],
      ...["--mca", "oob_tcp_if_include", "10.213.7.0/24"],
    ];
  }

  remove() {
    for (const name of this.names) spawnSync("ip", ["netns", "del", name]);
    spawnSync("ip", ["link", "del", this.bridge]);
  }
}

/** Why there can be no namespaces here; nothing where there can. */
export function withoutNamespaces() {
  if (process.getuid?.() !== 0) return "skipped: only root makes network namespaces";
  if (spawnSync("tc", ["-V"]).error !== undefined) return "skipped: there is no tc";
  return undefined;
}
