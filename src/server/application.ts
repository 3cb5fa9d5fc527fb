import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import type { Context } from "hono";
import { cors } from "hono/cors";
import { methodNotAllowed } from "hono/method-not-allowed";
import { secureHeaders } from "hono/secure-headers";
import { messageOf } from "../util/errors.ts";
import { errorBody, Refusal } from "./errors.ts";
import { bodyGuard, hostGuard, keyGuard, originGuard } from "./safety.ts";
import type { GuardVariables } from "./safety.ts";

/** Who may ask what of a server. */
export interface ApplicationOptions {
  /** The host that the server listens at. */
  readonly host: string;
  /** Further names that it is reached by. */
  readonly allowedHosts?: readonly string[];
  /** Origins of other pages that may use it, as `https://chat.example`. */
  readonly allowedOrigins?: readonly string[];
  /** Wanted of requests to guarded paths. Default: none is wanted. */
  readonly apiKey?: string | undefined;
  /** Paths that want the key. Default: all below /v1 and /api, and /metrics. */
  readonly isGuarded?: (path: string) => boolean;
  /** Most bytes of a request's body. Default 8 MiB. */
  readonly maximumBodyBytes?: number;
  /** Paths whose bodies are bytes that their routes read; others take JSON. Default: none. */
  readonly takesBytes?: (path: string) => boolean;
  /** Told what went wrong inside, which clients are not told. */
  readonly onInternalError?: (error: unknown) => void;
}

/** What routes find in their context. */
export interface ApplicationEnvironment {
  Bindings: HttpBindings;
  Variables: GuardVariables;
}

export type Application = Hono<ApplicationEnvironment>;
export type ApplicationContext = Context<ApplicationEnvironment>;

const DEFAULT_BODY_BYTES = 8 * 2 ** 20;

/**
 * An HTTP application without routes that is safe to add some to: requests for other hosts, from pages of other origins,
 * without the key, with bodies that are too long or no JSON are refused; answers tell browsers to load nothing from
 * elsewhere; errors, those of unknown paths and methods included, have OpenAI's form.
 */
export function createApplication(options: ApplicationOptions): Application {
  const { host, allowedHosts = [], allowedOrigins = [], apiKey } = options;
  const { isGuarded = isApiPath, maximumBodyBytes = DEFAULT_BODY_BYTES, takesBytes } = options;
  const application: Application = new Hono<ApplicationEnvironment>();
  application.onError((error, context) => answerTo(error, context, options.onInternalError));
  application.notFound((context) => {
    const { method, path } = context.req;
    return refused(
      context,
      new Refusal(404, `there is no ${method} ${path}`, { code: "unknown_url" }),
    );
  });
  application.use(
    secureHeaders({
      // The server speaks HTTP; whoever puts TLS before it says so there.
      strictTransportSecurity: false,
      xFrameOptions: "DENY",
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", "data:"],
        fontSrc: ["'self'"],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    }),
  );
  application.use(hostGuard(host, allowedHosts), originGuard(allowedOrigins));
  if (allowedOrigins.length > 0)
    application.use(
      cors({ origin: [...allowedOrigins], allowMethods: ["GET", "POST"], maxAge: 600 }),
    );
  if (apiKey !== undefined) application.use(keyGuard(apiKey, isGuarded));
  application.use(
    bodyGuard(maximumBodyBytes, takesBytes),
    methodNotAllowed({
      app: application,
      onMethodNotAllowed: (context, methods) =>
        refused(
          context,
          new Refusal(
            405,
            `${context.req.path} takes ${methods.join(", ")}, not ${context.req.method}`,
            { code: "method_not_allowed", headers: { Allow: methods.join(", ") } },
          ),
        ),
    }),
  );
  return application;
}

function isApiPath(path: string): boolean {
  return /^\/(v1|api|metrics)(\/|$)/.test(path);
}

function refused(context: Context, refusal: Refusal): Response {
  return context.json(errorBody(refusal), refusal.status, refusal.details.headers);
}

/** An error in OpenAI's form. Of what was not foreseen clients hear that it happened, and no more. */
function answerTo(
  error: unknown,
  context: Context,
  onInternalError: ((error: unknown) => void) | undefined,
): Response {
  if (error instanceof Refusal) return refused(context, error);
  onInternalError?.(error);
  return refused(
    context,
    new Refusal(500, "something went wrong inside the server", { code: "internal_error" }),
  );
}

/** A request's body as JSON. Throws `Refusal` 400 for what is none. */
export function jsonBody(context: ApplicationContext): unknown {
  try {
    return JSON.parse(context.get("body")) as unknown;
  } catch (error) {
    throw new Refusal(400, `the body is not JSON: ${messageOf(error)}`, { code: "invalid_json" });
  }
}
