import { hangError } from "../driver.ts";
import { noteStuckThread } from "../../../util/stuck-thread.ts";
import { EngineError } from "../../errors.ts";
import { E5RT_FUNCTIONS } from "../ffi/e5rt-functions.ts";
import type { E5rtName, Handle, HandleKind } from "../ffi/e5rt-functions.ts";
import { bindFunctions } from "../../../ffi/foreign.ts";
import type { ForeignFunction } from "../../../ffi/foreign.ts";
import { StderrCapture } from "../ffi/stderr-capture.ts";

/** What was being done, for error messages. */
export interface CallSite {
  readonly code: string;
  readonly doing: string;
  readonly remedy?: string;
}

type OutOf<Kind extends HandleKind> = [Handle<Kind> | null];

/** The runtime's functions with statuses turned into errors that carry what it wrote to stderr. */
export class E5rtCalls {
  readonly #functions: Readonly<Record<E5rtName, ForeignFunction>>;
  readonly #capture = new StderrCapture();
  readonly #timeoutMs: number;
  #hung: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(path: string, timeoutMs: number) {
    this.#functions = bindFunctions(
      path,
      Object.fromEntries(
        Object.entries(E5RT_FUNCTIONS).map(([name, { c }]) => [name, c]),
      ) as Record<E5rtName, string>,
    );
    this.#timeoutMs = timeoutMs;
  }

  /** The call that never came back, if one did not: nothing may be called any more. */
  get hung(): string | undefined {
    return this.#hung;
  }

  check(site: CallSite, name: E5rtName, ...operands: readonly unknown[]): void {
    const status = this.#captured(name, operands);
    if (status.code !== 0n) throw failure(site, name, status.code, status.text);
  }

  /** As `check`, for calls whose failure does no harm. */
  attempt(name: E5rtName, ...operands: readonly unknown[]): boolean {
    return this.#captured(name, operands, false).code === 0n;
  }

  /** A call whose first parameter receives a handle. */
  create<Kind extends HandleKind>(
    site: CallSite,
    name: E5rtName,
    ...operands: readonly unknown[]
  ): Handle<Kind> {
    const out: OutOf<Kind> = [null];
    this.check(site, name, out, ...operands);
    return received(site, name, out);
  }

  /** A call whose last parameter receives a handle. */
  retain<Kind extends HandleKind>(
    site: CallSite,
    name: E5rtName,
    ...operands: readonly unknown[]
  ): Handle<Kind> {
    const out: OutOf<Kind> = [null];
    this.check(site, name, ...operands, out);
    return received(site, name, out);
  }

  /** Lets go of a handle. A failure here cannot be acted upon; the runtime's words stay on stderr. */
  release(name: E5rtName, handle: bigint): void {
    if (this.#hung === undefined) this.#functions[name]([handle]);
  }

  /** A long call on another thread, so that this one can give up on it. */
  async checkLong(site: CallSite, name: E5rtName, ...operands: readonly unknown[]): Promise<void> {
    const status = await this.#long(site, name, operands);
    if (status.code !== 0n) throw failure(site, name, status.code, status.text);
  }

  async retainLong<Kind extends HandleKind>(
    site: CallSite,
    name: E5rtName,
    ...operands: readonly unknown[]
  ): Promise<Handle<Kind>> {
    const out: OutOf<Kind> = [null];
    await this.checkLong(site, name, ...operands, out);
    return received(site, name, out);
  }

  close(): void {
    if (this.#hung === undefined) this.#capture.close();
  }

  #captured(name: E5rtName, operands: readonly unknown[], keepsText = true): Status {
    this.#checkAlive();
    const isMine = this.#capture.begin();
    let code: bigint | undefined;
    let text = "";
    try {
      code = BigInt(this.#functions[name](...operands) as number | bigint);
    } finally {
      if (isMine) text = this.#capture.end(keepsText && code !== undefined && code !== 0n);
    }
    return { code, text };
  }

  /** One at a time (`e5rt.execute-thread`), however many plans run at once. */
  #long(site: CallSite, name: E5rtName, operands: readonly unknown[]): Promise<Status> {
    const result = this.#queue.then(() => this.#longNow(site, name, operands));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #longNow(site: CallSite, name: E5rtName, operands: readonly unknown[]): Promise<Status> {
    this.#checkAlive();
    this.#capture.begin();
    let timer: NodeJS.Timeout | undefined;
    let code: bigint | undefined;
    let text = "";
    try {
      code = await new Promise<bigint>((resolve, reject) => {
        timer = setTimeout(() => {
          this.#hung = `${name} (${site.doing})`;
          noteStuckThread();
          const words = said(this.#capture.end(true));
          reject(hangError(`${site.doing}: ${name}`, this.#timeoutMs, words));
        }, this.#timeoutMs);
        const settle = (error: Error | null, result: number | bigint): void => {
          if (error === null) resolve(BigInt(result));
          else reject(error);
        };
        this.#functions[name].async(...operands, settle);
      });
    } finally {
      clearTimeout(timer);
      text = this.#capture.end(code !== undefined && code !== 0n);
    }
    return { code, text };
  }

  #checkAlive(): void {
    if (this.#hung === undefined) return;
    throw new EngineError(
      "engine.ane.timeout",
      `the engine hangs since ${this.#hung}; nothing runs on it in this process any more`,
    );
  }
}

interface Status {
  readonly code: bigint;
  readonly text: string;
}

function received<Kind extends HandleKind>(
  site: CallSite,
  name: E5rtName,
  [handle]: OutOf<Kind>,
): Handle<Kind> {
  if (handle !== null) return handle;
  throw failure(site, name, 0n, "it reported success and gave no handle");
}

const said = (text: string): string =>
  text === "" ? "" : `. It said:\n  ${text.replaceAll("\n", "\n  ")}`;

function failure(site: CallSite, name: string, code: bigint, text: string): EngineError {
  return new EngineError(
    site.code,
    `${site.doing}: ${name} failed with ${code}${text === "" ? ", and the runtime gave no reason" : said(text)}`,
    site.remedy === undefined ? {} : { remedy: site.remedy },
  );
}
