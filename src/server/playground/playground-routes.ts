import { z } from "zod";
import { jsonBody } from "../application.ts";
import type { Application, ApplicationContext } from "../application.ts";
import { Refusal } from "../errors.ts";
import type { OpenAiParts } from "../openai/answers.ts";
import { answerChat } from "../openai/chat.ts";
import { answerCompletion } from "../openai/completions.ts";
import type { PageKey } from "../page-key.ts";
import type { ModelPool } from "./model-pool.ts";

const modelSchema = z.looseObject({ model: z.string() });

type Answer = (context: ApplicationContext, parts: OpenAiParts) => Promise<Response>;

/**
 * Adds OpenAI's completions and chats with checkpoints of runs as models. They take the page's key: opening a model and
 * writing with it costs memory and time.
 */
export function addPlaygroundRoutes(
  application: Application,
  { pool, key }: { readonly pool: ModelPool; readonly key: PageKey },
): void {
  const answer =
    (how: Answer) =>
    async (context: ApplicationContext): Promise<Response> => {
      key.require(context.req.header("authorization"));
      const body = modelSchema.safeParse(jsonBody(context));
      if (!body.success)
        throw new Refusal(400, "model names a run, or a checkpoint as RUN/checkpoint-100", {
          param: "model",
        });
      return await pool.with(body.data.model, async (parts) => how(context, parts));
    };
  application.post("/v1/completions", answer(answerCompletion));
  application.post("/v1/chat/completions", answer(answerChat));
}
