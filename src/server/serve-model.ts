import { TextService } from "../generate/service/text-service.ts";
import type { ServiceOptions } from "../generate/service/text-service.ts";
import { createApplication } from "./application.ts";
import type { Application, ApplicationOptions } from "./application.ts";
import { DEFAULT_HOST, listen } from "./listen.ts";
import type { ListenOptions, RunningServer } from "./listen.ts";
import { ServerMetrics } from "./metrics.ts";
import type { OpenAiParts } from "./openai/answers.ts";
import { addOpenAiRoutes } from "./openai/routes.ts";
import { ServedModels } from "./openai/served-models.ts";

/** A model, and how it is served. */
export interface ServeOptions {
  /** The name that requests ask by. */
  readonly modelName: string;
  readonly texts: ServiceOptions;
  readonly address: ListenOptions;
  readonly access?: Omit<ApplicationOptions, "host">;
  /** Adds further routes before the server listens. */
  readonly extend?: (application: Application, parts: OpenAiParts) => void;
}

/** A model that is served. */
export interface ServedModel {
  readonly server: RunningServer;
  readonly service: TextService;
  /** Takes no more requests, lets answers that were begun end for `graceMs` milliseconds, and ends everything. */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/**
 * Serves a model folder through OpenAI's API. Rejects with what is wrong in the folder, an engine that cannot be had, or
 * `ServerError` for an address that cannot be used.
 */
export async function serveModel(options: ServeOptions): Promise<ServedModel> {
  const { modelName, texts, address, access = {}, extend } = options;
  const service = await TextService.open(texts);
  try {
    const application = createApplication({ ...access, host: address.host ?? DEFAULT_HOST });
    const adapters = texts.adapters.map(({ name }) => name);
    const parts: OpenAiParts = {
      service,
      metrics: new ServerMetrics(),
      models: new ServedModels(modelName, adapters, service.facts.contextLength),
    };
    addOpenAiRoutes(application, parts);
    extend?.(application, parts);
    const server = await listen(application, address);
    return {
      server,
      service,
      async close(how) {
        await server.close(how);
        await service.close();
      },
    };
  } catch (error) {
    await service.close();
    throw error;
  }
}
