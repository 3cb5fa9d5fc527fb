import { AnecdoteError } from "../util/errors.ts";

export class TrackError extends AnecdoteError {}
