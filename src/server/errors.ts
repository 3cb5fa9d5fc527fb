import type { ContentfulStatusCode } from "hono/utils/http-status";
import { AnecdoteError } from "../util/errors.ts";

/** A server that cannot be started as asked. */
export class ServerError extends AnecdoteError {}

/** What a refusal tells beside its message, in OpenAI's words. */
export interface RefusalDetails {
  /** `invalid_request_error`, `authentication_error`, ... Default: by the status. */
  readonly type?: string;
  /** The parameter that is wrong, as `messages[0].content`. */
  readonly param?: string;
  /** What a client tells it by. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that is answered with an error: a status, and what a person reads. */
export class Refusal extends AnecdoteError {
  readonly status: ContentfulStatusCode;
  readonly details: RefusalDetails;

  constructor(status: ContentfulStatusCode, message: string, details: RefusalDetails = {}) {
    super(`server.${details.code ?? status}`, message);
    this.status = status;
    this.details = details;
  }
}

/** An error as OpenAI's API tells it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** Types that clients know, by status. */
const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
};

/** The body of a refusal. */
export function errorBody(refusal: Refusal): ErrorBody {
  const { type = TYPES[refusal.status] ?? "invalid_request_error", param, code } = refusal.details;
  return { error: { message: refusal.message, type, param: param ?? null, code: code ?? null } };
}
