import type {
  TextBegin,
  TextPiece,
  TextRequest,
  TextResult,
} from "../../generate/service/messages.ts";
import { RefusedText, TooManyTexts } from "../../generate/service/text-service.ts";
import type { TextService } from "../../generate/service/text-service.ts";
import { messageOf } from "../../util/errors.ts";
import { Refusal } from "../errors.ts";
import type { ServerMetrics } from "../metrics.ts";

/** What hears of texts that are written for one HTTP request. */
export interface TextsListener {
  /** Every prompt was accepted; nothing was told before. */
  readonly onBegun?: (begins: readonly TextBegin[]) => void;
  /** `choice` counts on over the prompts. */
  readonly onPiece?: (piece: TextPiece) => void;
}

/**
 * Writes what several prompts of one HTTP request ask for; where one cannot be written, none is. Throws `Refusal`: 400 for
 * what cannot be had, 429 where too many wait, 503 where the service ends.
 */
export async function writeTexts(
  service: TextService,
  requests: readonly TextRequest[],
  { onBegun, onPiece }: TextsListener,
  { signal, metrics }: { readonly signal: AbortSignal; readonly metrics: ServerMetrics },
): Promise<readonly TextResult[]> {
  const failure = new AbortController();
  const ending = AbortSignal.any([signal, failure.signal]);
  const begins: (TextBegin | undefined)[] = requests.map(() => undefined);
  let isBegun = false;
  const timing = metrics.textsAsked();
  const begun = (index: number, begin: TextBegin): void => {
    begins[index] = begin;
    const all = begins.flatMap((each) => each ?? []);
    if (isBegun || all.length < requests.length) return;
    isBegun = true;
    onBegun?.(all);
  };
  try {
    const results = await Promise.all(
      requests.map(async (request, index) => {
        try {
          return await service.write(
            request,
            {
              onBegun: (begin) => begun(index, begin),
              onPiece: (piece) => {
                timing.piece(piece.sinceMs);
                onPiece?.({ ...piece, choice: index * request.count + piece.choice });
              },
            },
            ending,
          );
        } catch (error) {
          failure.abort(error);
          throw error;
        }
      }),
    );
    timing.ended(results);
    return results;
  } catch (error) {
    throw asRefusal(failure.signal.reason ?? error, signal);
  }
}

/** Errors of prompts that do not fit. */
const TOO_LONG: ReadonlySet<string> = new Set(["generate.context"]);

function asRefusal(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return new Refusal(503, "the client has left", { code: "client_left" });
  if (error instanceof TooManyTexts)
    return new Refusal(429, error.message, {
      code: "too_many_requests",
      headers: { "Retry-After": "1" },
    });
  if (error instanceof RefusedText) {
    const code = error.code.replaceAll(".", "_");
    if (TOO_LONG.has(error.code))
      return new Refusal(400, error.message, { code: "context_length_exceeded" });
    const isOfSchema = error.code.startsWith("generate.schema.");
    return new Refusal(400, error.message, {
      code: isOfSchema ? "invalid_json_schema" : code,
      ...(isOfSchema && { param: "response_format" }),
    });
  }
  if (error instanceof Error && "code" in error && String(error.code).startsWith("generate."))
    return new Refusal(503, messageOf(error), { code: "unavailable" });
  return error;
}
