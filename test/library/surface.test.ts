import { describe, expect, expectTypeOf, it } from "vitest";
import { COMMANDS } from "../../src/cli/commands.ts";
import * as anecdote from "../../src/index.ts";
import * as inspect from "../../src/inspect.ts";
import * as measure from "../../src/measure.ts";
import type {
  FunctionInput,
  FunctionResult,
  GeneratedText,
  ModelHandle,
  TrainConfig,
  TrainEvent,
  TrainSettings,
} from "../../src/index.ts";

// The types are checked by `npm run types`; what stands in `it` runs too.
describe("the library", () => {
  it("begins a run in one call, whose events are told apart by their kind", () => {
    expectTypeOf(anecdote.train).parameter(0).toEqualTypeOf<TrainSettings | undefined>();
    expectTypeOf(anecdote.train).returns.resolves.toExtend<AsyncIterable<TrainEvent>>();
    expectTypeOf(anecdote.train).returns.resolves.not.toExtend<PromiseLike<unknown>>();
    type End = Extract<TrainEvent, { kind: "end" }>;
    expectTypeOf<End["eval_loss"]>().toEqualTypeOf<number | null>();
    expectTypeOf<ModelHandle["generate"]>().returns.resolves.toEqualTypeOf<GeneratedText>();
    expect(anecdote.train).toBeTypeOf("function");
  });

  it("names every setting, and none beside", () => {
    expectTypeOf<TrainSettings>().toHaveProperty("learning_rate");
    expectTypeOf<TrainSettings["learning_rate"]>().toEqualTypeOf<number | undefined>();
    expectTypeOf<TrainSettings["engine"]>().toEqualTypeOf<string | undefined>();
    expectTypeOf<TrainSettings>().not.toHaveProperty("learnin_rate");
    expectTypeOf<keyof TrainSettings>().toEqualTypeOf<keyof typeof anecdote.TRAIN_OPTIONS>();
    // What a run is told is complete: defaults are in it.
    expectTypeOf<TrainConfig["batch_size"]>().toEqualTypeOf<number>();
    expectTypeOf<TrainConfig["min_learning_rate"]>().toEqualTypeOf<number>();
    expect(Object.keys(anecdote.TRAIN_OPTIONS)).toContain("learning_rate");
  });

  it("takes and gives numbers", () => {
    expectTypeOf<readonly number[]>().toExtend<FunctionInput>();
    expectTypeOf<Float64Array>().toExtend<FunctionInput>();
    // A result goes in as it came out.
    expectTypeOf<FunctionResult>().toExtend<FunctionInput>();
    expectTypeOf<string>().not.toExtend<FunctionInput>();
    expectTypeOf<FunctionResult["toArray"]>().returns.toEqualTypeOf<number[]>();
    expectTypeOf(anecdote.runFunction).returns.resolves.toEqualTypeOf<
      ReadonlyMap<string, FunctionResult>
    >();
    expect(anecdote.FunctionResult).toBeTypeOf("function");
  });

  it("does what every command does", () => {
    /**
     * A function of the library by command; data and tokenizer are the namespace `text`. `cluster` starts `train` under
     * mpirun again and again, which a program does by itself.
     */
    const commands = {
      train: anecdote.train,
      finetune: anecdote.train,
      export: anecdote.exportModel,
      fuse: anecdote.exportModel,
      dashboard: anecdote.startDashboard,
      report: anecdote.runReport,
      cluster: anecdote.train,
      generate: anecdote.generateFromFolder,
      chat: anecdote.Chat,
      serve: anecdote.serveModel,
      eval: anecdote.evaluateModel,
      plan: anecdote.planOf,
      estimate: anecdote.estimateFile,
      inspect: inspect.inspectFile,
      check: anecdote.checkFile,
      run: anecdote.prepareRun,
      convert: anecdote.convertFile,
      diff: inspect.diffFiles,
      ops: anecdote.opReport,
      chips: anecdote.chipByName,
      bench: measure.runBench,
      data: anecdote.text.generateStories,
      tokenizer: anecdote.text.trainBpe,
      doctor: measure.runSelfTest,
      runs: anecdote.readEvents,
    };
    expect(Object.keys(commands).toSorted()).toEqual(COMMANDS.map(({ name }) => name).toSorted());
    for (const [name, use] of Object.entries(commands)) expect(use, name).toBeTypeOf("function");
  });
});
