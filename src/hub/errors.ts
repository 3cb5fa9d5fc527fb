import { AnecdoteError } from "../util/errors.ts";

/** What cannot be had from the Hugging Face Hub. */
export class HubError extends AnecdoteError {}
