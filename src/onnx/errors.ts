import { AnecdoteError } from "../util/errors.ts";

/** A program that ONNX cannot express, or an ONNX file that cannot be read. */
export class OnnxError extends AnecdoteError {}
