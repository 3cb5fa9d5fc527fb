// The thread that a text service computes in: engines block the thread that calls them.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { TextError } from "../../text/index.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { GenerateError } from "../errors.ts";
import type {
  FromWorker,
  ServiceCounts,
  ServiceSettings,
  TextPiece,
  ToWorker,
} from "./messages.ts";
import { PieceBox } from "./piece-box.ts";
import { TextWriter } from "./text-writer.ts";

const settings = workerData as ServiceSettings;

/** Shorter than a screen takes to show another picture. */
const STREAM_INTERVAL_MS = 10;

function post(message: FromWorker): void {
  parentPort?.postMessage(message);
}

function fail(error: unknown, at: { readonly id?: number; readonly counts?: ServiceCounts }): void {
  post({
    kind: "failed",
    ...at,
    code: error instanceof AnecdoteError ? error.code : undefined,
    message: messageOf(error),
    isRefused:
      (error instanceof GenerateError || error instanceof TextError) &&
      error.code !== "generate.not_finite",
  });
}

async function serve(writer: TextWriter): Promise<void> {
  const aborts = new Map<number, AbortController>();
  const box = new PieceBox<{ readonly id: number; readonly piece: TextPiece }>({
    intervalMs: settings.streamIntervalMs ?? STREAM_INTERVAL_MS,
    send: (pieces) => post({ kind: "pieces", pieces, counts: writer.counts }),
  });
  const write = async ({ id, request }: ToWorker & { readonly kind: "write" }): Promise<void> => {
    const abort = new AbortController();
    aborts.set(id, abort);
    /** When the last piece of each of its texts came. */
    const lastMs = new Map<number, number>();
    try {
      const result = await writer.write(
        request,
        {
          onBegun: (begin) => post({ kind: "begun", id, begin }),
          onPiece: (piece) => {
            const nowMs = performance.now();
            const before = lastMs.get(piece.choice);
            lastMs.set(piece.choice, nowMs);
            const since = before === undefined ? {} : { sinceMs: nowMs - before };
            const further = request.isWhole === true ? "later" : "soon";
            box.add({ id, piece: { ...piece, ...since } }, before === undefined ? "now" : further);
          },
        },
        abort.signal,
      );
      box.flush();
      post({ kind: "ended", id, result, counts: writer.counts });
    } catch (error) {
      box.flush();
      fail(error, { id, counts: writer.counts });
    } finally {
      aborts.delete(id);
    }
  };
  const isClosing = new Promise<void>((resolve) => {
    handle = (message) => {
      switch (message.kind) {
        case "write":
          void write(message);
          return;
        case "abort":
          aborts.get(message.id)?.abort(new GenerateError("generate.aborted", "the client left"));
          return;
        case "close":
          resolve();
      }
    };
  });
  parentPort?.on("message", (message: ToWorker) => handle(message));
  await isClosing;
  await writer.close();
  parentPort?.close();
}

/** Nothing is asked for before the thread says that it is ready. */
let handle: (message: ToWorker) => void = () => undefined;

/** Takes messages that wait: the event loop has its turn more rarely than there are steps. */
function hear(): void {
  if (parentPort === null) return;
  for (;;) {
    const received = receiveMessageOnPort(parentPort);
    if (received === undefined) return;
    handle(received.message as ToWorker);
  }
}

try {
  const writer = await TextWriter.open(settings, hear);
  const facts = await writer.prepare((text) => post({ kind: "progress", text }));
  const served = serve(writer);
  post({ kind: "ready", facts });
  await served;
} catch (error) {
  fail(error, {});
}
