import {
  FOREIGN_DOMAIN,
  FOREIGN_PRODUCT,
  FOREIGN_PRODUCT_SUM,
} from "../../../onnx/foreign-products.ts";
import { messageOf } from "../../../util/errors.ts";
import type { OrtApi, Pointer } from "../../host/ort-api.ts";
import { cString } from "../../host/ort-api.ts";
import type { Blas, MatrixProduct } from "../blas/library.ts";

/** The version of `OrtCustomOp` that is filled in: the first in which a result may stand on an operand. */
const STRUCTURE_VERSION = 18n;
/** An element type, and that an operand must be there, in the runtime's numbers. */
const FLOAT = 1;
const REQUIRED = 0;

interface Kernel {
  readonly product: MatrixProduct;
  /** [m, n], where the runtime reads it. */
  readonly shape: BigInt64Array;
  readonly hasAddend: boolean;
}

/**
 * Products of matrices inside graphs by a library of the system: operators of the runtime's "custom" kind whose
 * functions are this thread's. The runtime calls them while it runs a graph, on the thread that runs it.
 */
export class ForeignProducts {
  readonly #api: OrtApi;
  readonly #blas: Blas;
  readonly #domain: Pointer;
  readonly #forget: (() => void)[] = [];
  /** Memory that the runtime reads for as long as the domain lives. */
  readonly #held: (Uint8Array | BigUint64Array | Int32Array)[] = [];
  /** By the number that stands for the kernel's address. */
  readonly #kernels = new Map<Pointer, Kernel>();
  #nextKernel: Pointer = 1n;

  constructor(api: OrtApi, blas: Blas) {
    this.#api = api;
    this.#blas = blas;
    this.#domain = api.make("CreateCustomOpDomain", FOREIGN_DOMAIN);
    for (const [name, inputCount] of [
      [FOREIGN_PRODUCT, 2],
      [FOREIGN_PRODUCT_SUM, 3],
    ] as const)
      api.check("CustomOpDomain_Add", this.#domain, this.#operator(name, inputCount));
  }

  get library(): string {
    return this.#blas.version;
  }

  /** Makes the operators known to a session's graph. */
  register(sessionOptions: Pointer): void {
    this.#api.check("AddCustomOpDomain", sessionOptions, this.#domain);
  }

  /** Before a graph runs: others may have set the library's threads. */
  prepare(): void {
    this.#blas.takeThreads();
  }

  /** When no session is left. */
  close(): void {
    this.#api.call("ReleaseCustomOpDomain", this.#domain);
    for (const forget of this.#forget.splice(0)) forget();
    this.#held.length = 0;
  }

  /** Source of the order: `OrtCustomOp` of onnxruntime_c_api.h. */
  #operator(operatorName: string, inputCount: number): BigUint64Array {
    const name = cString(operatorName);
    const nameAddress = this.#api.address(name);
    // Pairs of an operand and the result that may stand on its memory: the addend is written over.
    const mayStand = { inputs: Int32Array.of(2), outputs: Int32Array.of(0) };
    this.#held.push(name, mayStand.inputs, mayStand.outputs);
    const count = inputCount === 3 ? 1 : 0;
    const constant = (value: number): Pointer =>
      this.#callback("int OrtOpNumber(void *, size_t)", () => value);
    const size = (value: number): Pointer =>
      this.#callback("size_t OrtOpCount(void *)", () => value);
    const one = this.#callback("int OrtOpFlag(void *)", () => 1);
    const table = BigUint64Array.of(
      STRUCTURE_VERSION,
      0n, // CreateKernel: CreateKernelV2 instead.
      this.#callback("void *OrtOpName(void *)", () => nameAddress),
      this.#callback("void *OrtOpProvider(void *)", () => null), // The CPU's.
      constant(FLOAT),
      size(inputCount),
      constant(FLOAT),
      size(1),
      0n, // KernelCompute: KernelComputeV2 instead.
      this.#callback("void OrtOpDestroy(void *)", (kernel: Pointer) => {
        this.#kernels.delete(kernel);
      }),
      constant(REQUIRED),
      constant(REQUIRED),
      constant(0), // Memory of operands: the default.
      one, // Smallest numbers and kinds of variadic operands and results: there are none.
      one,
      one,
      one,
      this.#callback(
        "void *OrtOpCreate(void *, void *, void *, void *)",
        (_op: Pointer, _api: Pointer, info: Pointer, kernel: Pointer) =>
          this.#told(() => {
            this.#api.store(kernel, this.#create(info, inputCount === 3));
          }),
      ),
      this.#callback("void *OrtOpCompute(void *, void *)", (kernel: Pointer, context: Pointer) =>
        this.#told(() => {
          this.#compute(kernel, context);
        }),
      ),
      0n, // Shapes are the graph's to tell.
      one, // First and last version of the operator.
      one,
      this.#callback("size_t OrtOpInPlace(void *, void *)", (inputs: Pointer, outputs: Pointer) => {
        this.#api.store(inputs, this.#api.address(mayStand.inputs));
        this.#api.store(outputs, this.#api.address(mayStand.outputs));
        return count;
      }),
      this.#callback("void OrtOpInPlaceDone(void *, void *)", () => undefined),
      this.#callback("size_t OrtOpAliases(void *, void *)", () => 0),
      this.#callback("void OrtOpAliasesDone(void *, void *)", () => undefined),
    );
    this.#held.push(table);
    return table;
  }

  #callback(prototype: string, run: (...operands: never[]) => unknown): Pointer {
    const { address, forget } = this.#api.callback(prototype, run);
    this.#forget.push(forget);
    return address;
  }

  /** Nothing, or what went wrong in the runtime's form. */
  #told(run: () => void): Pointer | null {
    try {
      run();
      return null;
    } catch (error) {
      return this.#api.failure(messageOf(error));
    }
  }

  #create(info: Pointer, hasAddend: boolean): Pointer {
    const size = (name: string): number =>
      this.#api.number("KernelInfoGetAttribute_int64", info, name);
    const [m, n] = [size("m"), size("n")];
    const number = this.#nextKernel++;
    this.#kernels.set(number, {
      product: {
        ...{ m, n, k: size("k") },
        transposeA: size("transA") === 1,
        transposeB: size("transB") === 1,
        alpha: this.#api.number("KernelInfoGetAttribute_float", info, "alpha"),
        beta: hasAddend ? 1 : 0,
      },
      shape: BigInt64Array.of(BigInt(m), BigInt(n)),
      hasAddend,
    });
    return number;
  }

  #compute(number: Pointer, context: Pointer): void {
    const kernel = this.#kernels.get(number);
    if (kernel === undefined) throw new Error(`there is no product ${number}`);
    const { product, shape, hasAddend } = kernel;
    const api = this.#api;
    const operand = (index: number): Pointer =>
      api.make("GetTensorMutableData", api.make("KernelContext_GetInput", context, index));
    const result = api.make(
      "GetTensorMutableData",
      api.make("KernelContext_GetOutput", context, 0, shape, shape.length),
    );
    if (hasAddend) {
      const addend = operand(2);
      if (addend !== result) this.#blas.copy(product.m * product.n, addend, result);
    }
    this.#blas.multiply(product, operand(0), operand(1), result);
  }
}
