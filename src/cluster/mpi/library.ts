import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { bindFunctions, foreign, openLibrary } from "../../ffi/foreign.ts";
import type { ForeignFunction, ForeignLibrary, ForeignUse } from "../../ffi/foreign.ts";
import { messageOf } from "../../util/errors.ts";
import { ClusterError } from "../errors.ts";

/** How to get Open MPI. */
export const GET_OPEN_MPI =
  "Get it with `apt-get install openmpi-bin libopenmpi3` (Debian, Ubuntu) or `brew install open-mpi` (macOS), or name the library with ANECDOTE_MPI_LIBRARY.";

const OPEN_MPI: ForeignUse = {
  code: "cluster.mpi",
  subject: "Open MPI",
  withoutKoffi: "Install it: npm install koffi.",
  withoutLibrary: GET_OPEN_MPI,
  withoutFunctions: "Open MPI 4.0 or later has them.",
};

const GET_LIBRARY_VERSION = "int MPI_Get_library_version(void *version, void *resultlen)" as const;

/** Prototypes of the MPI standard (3.1), with handles as addresses, which they are in Open MPI. */
const PROTOTYPES = {
  MPI_Init_thread: "int MPI_Init_thread(void *argc, void *argv, int required, void *provided)",
  MPI_Finalize: "int MPI_Finalize()",
  MPI_Abort: "int MPI_Abort(void *comm, int errorcode)",
  MPI_Comm_rank: "int MPI_Comm_rank(void *comm, void *rank)",
  MPI_Comm_size: "int MPI_Comm_size(void *comm, void *size)",
  MPI_Comm_split: "int MPI_Comm_split(void *comm, int color, int key, void *newcomm)",
  MPI_Comm_dup: "int MPI_Comm_dup(void *comm, void *newcomm)",
  MPI_Comm_set_errhandler: "int MPI_Comm_set_errhandler(void *comm, void *errhandler)",
  MPI_Error_string: "int MPI_Error_string(int errorcode, void *string, void *resultlen)",
  MPI_Isend:
    "int MPI_Isend(void *buf, int count, void *datatype, int dest, int tag, void *comm, void *request)",
  MPI_Irecv:
    "int MPI_Irecv(void *buf, int count, void *datatype, int source, int tag, void *comm, void *request)",
  MPI_Recv:
    "int MPI_Recv(void *buf, int count, void *datatype, int source, int tag, void *comm, void *status)",
  MPI_Iprobe: "int MPI_Iprobe(int source, int tag, void *comm, void *flag, void *status)",
  MPI_Ialltoallv:
    "int MPI_Ialltoallv(void *sendbuf, void *sendcounts, void *sdispls, void *sendtype, void *recvbuf, void *recvcounts, void *rdispls, void *recvtype, void *comm, void *request)",
  MPI_Iallgatherv:
    "int MPI_Iallgatherv(void *sendbuf, int sendcount, void *sendtype, void *recvbuf, void *recvcounts, void *displs, void *recvtype, void *comm, void *request)",
  MPI_Ibcast:
    "int MPI_Ibcast(void *buffer, int count, void *datatype, int root, void *comm, void *request)",
  MPI_Ibarrier: "int MPI_Ibarrier(void *comm, void *request)",
  MPI_Test: "int MPI_Test(void *request, void *flag, void *status)",
} as const;

export type MpiFunctions = Readonly<Record<keyof typeof PROTOTYPES, ForeignFunction>>;

/** Open MPI's handles are the addresses of exported variables. */
export interface MpiHandles {
  readonly world: bigint;
  readonly byte: bigint;
  readonly errorsReturn: bigint;
}

export interface MpiLibrary {
  readonly path: string;
  /** "Open MPI v4.1.4", as the library says it. */
  readonly version: string;
  readonly functions: MpiFunctions;
  readonly handles: MpiHandles;
}

/** Where Open MPI's library may stand, the most likely first. */
export function libraryPaths(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): readonly string[] {
  const named = environment["ANECDOTE_MPI_LIBRARY"];
  if (named !== undefined && named !== "") return [named];
  const file = platform === "darwin" ? "libmpi.dylib" : "libmpi.so";
  const besideLauncher = (environment["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "" && existsSync(join(folder, "mpirun")))
    .map((folder) => join(dirname(folder), "lib", file))
    .filter((path) => existsSync(path));
  return platform === "darwin"
    ? [...besideLauncher, `/opt/homebrew/lib/${file}`, `/usr/local/lib/${file}`, file]
    : // The name with Open MPI's own number (of 2.0 to 5.0) is not MPICH's, whose libraries may be called libmpi too.
      [...besideLauncher, "libmpi.so.40", file];
}

/**
 * Loads Open MPI. Throws `ClusterError`: `cluster.mpi.library` where there is none, `cluster.mpi.kind` for another
 * MPI, whose handles are not Open MPI's.
 */
export function loadMpi(paths: readonly string[] = libraryPaths()): MpiLibrary {
  const reasons: string[] = [];
  for (const path of paths) {
    let library: ForeignLibrary;
    try {
      library = openLibrary(path, OPEN_MPI, { isGlobal: true });
    } catch (error) {
      reasons.push(messageOf(error instanceof Error && error.cause ? error.cause : error));
      continue;
    }
    return openMpiOf(path, library);
  }
  throw new ClusterError(
    "cluster.mpi.library",
    `Open MPI's library cannot be loaded: ${reasons.join("; ")}`,
    { remedy: GET_OPEN_MPI },
  );
}

function openMpiOf(path: string, library: ForeignLibrary): MpiLibrary {
  const version = versionOf(path, library);
  if (!version.startsWith("Open MPI")) {
    throw new ClusterError(
      "cluster.mpi.kind",
      `${path} is ${/MPICH|MVAPICH|Intel/i.test(version) ? "of MPICH's kind" : "no Open MPI"} ("${version}"); Anecdote talks to Open MPI alone`,
      { remedy: GET_OPEN_MPI },
    );
  }
  return {
    path,
    version,
    functions: bindFunctions(path, PROTOTYPES, OPEN_MPI, library),
    handles: {
      world: handle(path, library, "ompi_mpi_comm_world"),
      byte: handle(path, library, "ompi_mpi_byte"),
      errorsReturn: handle(path, library, "ompi_mpi_errors_return"),
    },
  };
}

/** What the library calls itself; it may be asked before it is initialised. */
function versionOf(path: string, library: ForeignLibrary): string {
  const text = new Uint8Array(8192);
  const length = new Int32Array(1);
  const koffi = foreign(OPEN_MPI);
  const { MPI_Get_library_version: ask } = bindFunctions(
    path,
    { MPI_Get_library_version: GET_LIBRARY_VERSION },
    OPEN_MPI,
    library,
  );
  ask(koffi.address(text), koffi.address(new Uint8Array(length.buffer)));
  const whole = Buffer.from(text.buffer, 0, length[0] ?? 0).toString("utf8");
  return (/^[^,\n\0]*/.exec(whole)?.[0] ?? "").replaceAll("\t", " ").trim();
}

function handle(path: string, library: ForeignLibrary, name: string): bigint {
  try {
    return library.symbol(name);
  } catch (error) {
    throw new ClusterError("cluster.mpi.symbols", `${path} has no ${name}: ${messageOf(error)}`, {
      remedy: "Open MPI 4.0 or later has it.",
    });
  }
}
