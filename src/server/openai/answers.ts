import type { TextResult } from "../../generate/service/messages.ts";
import type { TextService } from "../../generate/service/text-service.ts";
import type { StopReason } from "../../generate/index.ts";
import { VERSION } from "../../util/version.ts";
import type { ApplicationContext } from "../application.ts";
import type { ServerMetrics } from "../metrics.ts";
import type { ServedModels } from "./served-models.ts";

/** What routes answer with. */
export interface OpenAiParts {
  readonly service: TextService;
  readonly models: ServedModels;
  readonly metrics: ServerMetrics;
}

/** Changes where the same request may be answered otherwise. */
export const FINGERPRINT = `fp_anecdote_${VERSION}`;

/** Aborted where the client leaves, or by `leave`. */
export function clientSignal({ req }: ApplicationContext): {
  readonly leave: AbortController;
  readonly signal: AbortSignal;
} {
  const leave = new AbortController();
  return { leave, signal: AbortSignal.any([req.raw.signal, leave.signal]) };
}

export function finishReason(reason: StopReason): "stop" | "length" {
  switch (reason) {
    case "end of text":
    case "stop string":
      return "stop";
    case "max tokens":
    case "end of context":
      return "length";
  }
}

/** Tokens of an answer; a prompt is counted once, however many texts follow it. */
export function usageOf(results: readonly TextResult[]): object {
  let prompt = 0;
  let cached = 0;
  let completion = 0;
  for (const { promptTokenCount, reusedTokenCount, texts } of results) {
    prompt += promptTokenCount;
    cached += reusedTokenCount;
    for (const { tokenCount } of texts) completion += tokenCount;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}
