import { ClusterError } from "./errors.ts";

/** What the launcher says of this process. */
export interface Launched {
  /** Of all processes, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Of those on this machine. */
  readonly localRank: number;
  readonly localSize: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The place of this process among those that mpirun (or srun with PMIx) started with it; nothing for a process on its
 * own. Throws `ClusterError` `cluster.launcher` for a launcher of another MPI: its processes would each train alone.
 */
export function launchedProcess(environment: Environment = process.env): Launched | undefined {
  const launched = openMpi(environment) ?? slurm(environment);
  if (launched !== undefined) return launched.size > 1 ? launched : undefined;
  const otherSize = number(environment["PMI_SIZE"]);
  if (otherSize !== undefined && otherSize > 1) {
    throw new ClusterError(
      "cluster.launcher",
      `this is one of ${otherSize} processes that MPICH's mpiexec (or another one of its kind) has started; Anecdote talks to Open MPI alone`,
      {
        remedy:
          "Start them with Open MPI's mpirun: `mpirun --version` names it. Under Slurm: srun --mpi=pmix.",
      },
    );
  }
  return undefined;
}

function openMpi(environment: Environment): Launched | undefined {
  const size = number(environment["OMPI_COMM_WORLD_SIZE"]);
  const rank = number(environment["OMPI_COMM_WORLD_RANK"]);
  if (size === undefined || rank === undefined) return undefined;
  return {
    ...{ rank, size },
    localRank: number(environment["OMPI_COMM_WORLD_LOCAL_RANK"]) ?? 0,
    localSize: number(environment["OMPI_COMM_WORLD_LOCAL_SIZE"]) ?? 1,
  };
}

/** `srun --mpi=pmix`: PMIx numbers the processes, Slurm counts them. */
function slurm(environment: Environment): Launched | undefined {
  const rank = number(environment["PMIX_RANK"]);
  const size = number(environment["SLURM_STEP_NUM_TASKS"]) ?? number(environment["SLURM_NTASKS"]);
  if (rank === undefined || size === undefined) return undefined;
  const perNode = environment["SLURM_STEP_TASKS_PER_NODE"] ?? environment["SLURM_TASKS_PER_NODE"];
  return {
    ...{ rank, size },
    localRank: number(environment["SLURM_LOCALID"]) ?? 0,
    localSize: tasksOfNode(perNode, number(environment["SLURM_NODEID"]) ?? 0) ?? 1,
  };
}

/** Of "2(x3),1": two tasks on each of the first three nodes, one on the next. */
function tasksOfNode(text: string | undefined, node: number): number | undefined {
  let first = 0;
  for (const part of text?.split(",") ?? []) {
    const match = /^(\d+)(?:\(x(\d+)\))?$/.exec(part);
    if (match === null) return undefined;
    first += Number(match[2] ?? 1);
    if (node < first) return Number(match[1]);
  }
  return undefined;
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
