import type { Application } from "../application.ts";
import type { OpenAiParts } from "./answers.ts";
import { answerChat } from "./chat.ts";
import { answerCompletion } from "./completions.ts";

/** Adds what OpenAI's clients ask for, /health and /metrics. */
export function addOpenAiRoutes(application: Application, parts: OpenAiParts): void {
  const { service, models, metrics } = parts;
  application.use(async (context, next) => {
    await next();
    const { method, routePath } = {
      method: context.req.method,
      routePath: routeOf(context.req.path),
    };
    metrics.answered(method, routePath, context.res.status);
  });
  application.get("/health", (context) => {
    const { failure } = service;
    return failure === undefined
      ? context.json({ status: "ok" })
      : context.json({ status: "failed", message: failure.message }, 503);
  });
  application.get("/metrics", (context) =>
    context.text(metrics.text(service.load), 200, {
      "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    }),
  );
  application.get("/v1/models", (context) =>
    context.json({ object: "list", data: models.all.map((model) => models.describe(model)) }),
  );
  application.get("/v1/models/:id{.+}", (context) =>
    context.json(models.describe(models.named(context.req.param("id")))),
  );
  application.post("/v1/chat/completions", async (context) => answerChat(context, parts));
  application.post("/v1/completions", async (context) => answerCompletion(context, parts));
}

const ROUTES = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"];

/** Paths that nobody knows count as one: a client must not make as many counters as it likes. */
function routeOf(path: string): string {
  if (path.startsWith("/v1/models/")) return "/v1/models";
  return ROUTES.includes(path) ? path : "other";
}
