/** A run as files: events, checkpoints, lock. */
export { checkpointProblem, listCheckpoints, verifyCheckpoint } from "./checkpoint.ts";
export type { CheckpointFolder } from "./checkpoint.ts";
export { convertFile } from "./convert-file.ts";
export { describeModelFolder, modelFolderJson } from "./describe-model-folder.ts";
export type { ModelFolderReport } from "./describe-model-folder.ts";
export { RunError } from "./errors.ts";
export { EventLog, eventsPath, logInterruption, readEvents } from "./event-log.ts";
export { trainEventSchema } from "./events.ts";
export type { NumberedEvent, TrainEvent, TrainEventKind, UntimedEvent } from "./events.ts";
export { followEvents } from "./follow-events.ts";
export type { FollowOptions } from "./follow-events.ts";
export { resolveModelFolder, resolveTokenizer } from "./model-path.ts";
export { findRun, listRuns, readRun } from "./run-summary.ts";
export type { RunCheckpoint, RunState, RunSummary, SeriesPoint } from "./run-summary.ts";
export { RunLock } from "./run-lock.ts";
export { newestWholeCheckpoint } from "./whole-checkpoints.ts";
export type { DamagedCheckpoint, FoundCheckpoint } from "./whole-checkpoints.ts";
