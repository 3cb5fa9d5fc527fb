import { EngineError } from "../../errors.ts";
import type { DriverOperation, DriverStream } from "../driver.ts";
import type { ObjectPointer } from "../ffi/objc-functions.ts";
import type { Attempt } from "./attempt.ts";
import type { EngineThread } from "./engine-thread.ts";
import type { ObjcRuntime } from "./objc.ts";

/** Surfaces at a program's ports, and the message that runs it over them. */
export class InMemoryRequest implements DriverOperation {
  readonly label: string;
  readonly attempt: Attempt;
  readonly #objc: ObjcRuntime;
  readonly #thread: EngineThread;
  readonly #request: ObjectPointer;
  #isReleased = false;

  constructor(
    objc: ObjcRuntime,
    thread: EngineThread,
    surfaces: {
      readonly inputs: readonly ObjectPointer[];
      readonly outputs: readonly ObjectPointer[];
    },
    label: string,
    evaluate: (request: ObjectPointer) => Attempt,
  ) {
    this.label = label;
    this.#objc = objc;
    this.#thread = thread;
    const { inputs, outputs } = surfaces;
    this.#request = objc.pooled(() => {
      const number = (value: number): ObjectPointer =>
        objc.ask("NSNumber", "numberWithInt:", value);
      const indices = (objects: readonly ObjectPointer[]): ObjectPointer =>
        objc.array(objects.map((_, index) => number(index)));
      return objc.retain(
        objc.ask(
          "_ANERequest",
          "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:",
          objc.array(inputs),
          indices(inputs),
          objc.array(outputs),
          indices(outputs),
          null,
          null,
          number(0),
        ),
      );
    });
    this.attempt = evaluate(this.#request);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#thread.afterwards(() => this.#objc.release(this.#request));
  }
}

/** Requests that one job runs in order. */
export class RequestSequence implements DriverStream {
  readonly #requests: readonly InMemoryRequest[];
  readonly #thread: EngineThread;

  constructor(thread: EngineThread, requests: readonly InMemoryRequest[]) {
    this.#thread = thread;
    this.#requests = requests;
  }

  async execute(label: string): Promise<void> {
    const attempts = this.#requests.map(({ attempt }) => attempt);
    const { failed, reason } = await this.#thread.run(label, attempts);
    if (failed === undefined) return;
    throw new EngineError(
      "engine.ane.execute",
      `${this.#requests[failed]?.label ?? label}: evaluation failed: ${reason}`,
    );
  }

  release(): void {
    // Nothing of its own: the requests belong to whoever loaded them.
  }
}
