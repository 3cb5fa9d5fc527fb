import type { Command } from "commander";
import { engineOptions } from "../engine/create.ts";
import { GREEDY, generateFromFolder } from "../generate/index.ts";
import { powerChoice } from "../track/power/index.ts";
import { resolveModelFolder } from "../train/index.ts";
import { flagName, resolveOptions } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { GENERATE_OPTIONS } from "./generate-options.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { WorkPower, tokenCosts, tokenCostsText } from "./power.ts";
import type { MeanPower } from "./power.ts";
import { printNote, styled } from "./terminal.ts";

interface GenerateFlags {
  readonly stop: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("generate")
    .description("write text with a trained model")
    .option("--stop <text>", "end where this text appears (may be given several times)", append, [])
    .option("--json", "one JSON object instead of the text")
    .addHelpText(
      "after",
      `
Example:
  anecdote generate --model runs/storyteller --prompt "Once upon a time" --max-tokens 150 --temperature 0.8`,
    );
  addOptions(command, GENERATE_OPTIONS);
  command.action(async (flags: GenerateFlags) => {
    const json = flags.json === true;
    const { values } = resolveOptions(GENERATE_OPTIONS, [
      commandLineLayer(command, GENERATE_OPTIONS),
    ]);
    if (values.model === undefined) {
      throw new UsageError("cli.model", "generate needs a model: --model DIR");
    }
    refuseIdleSampling(values);
    const folder = resolveModelFolder(values.model, printNote);
    if (!json && values.prompt !== undefined) {
      process.stdout.write(styled(process.stdout, "bold", values.prompt));
    }
    const power = new WorkPower(powerChoice());
    let mean: MeanPower | undefined;
    const result = await generateFromFolder(folder, values.prompt ?? "", {
      maxTokens: values.max_tokens ?? 100,
      stop: flags.stop,
      ...(values.temperature !== undefined && { temperature: values.temperature }),
      ...(values.top_k !== undefined && { topK: values.top_k }),
      ...(values.top_p !== undefined && { topP: values.top_p }),
      ...(values.min_p !== undefined && { minP: values.min_p }),
      ...(values.repetition_penalty !== undefined && {
        repetitionPenalty: values.repetition_penalty,
      }),
      ...(values.seed !== undefined && { seed: values.seed }),
      ...(values.engine !== undefined && { engine: values.engine }),
      ...engineOptions(values),
      onText: (piece: string) => {
        power.mark();
        if (!json) process.stdout.write(piece);
      },
    }).finally(() => (mean = power.end()));
    if (json) {
      process.stdout.write(
        `${JSON.stringify({ text: result.text, tokens: result.tokenCount, tokens_per_second: result.tokensPerSecond, stop_reason: result.stopReason, ...tokenCosts(mean, result.tokensPerSecond) })}\n`,
      );
      return;
    }
    process.stdout.write("\n");
    process.stderr.write(
      `${styled(process.stderr, "dim", `${result.tokenCount} tokens, ${result.tokensPerSecond.toFixed(1)} tokens/s${tokenCostsText(mean, result.tokensPerSecond)}, ended by ${result.stopReason}`)}\n`,
    );
  });
}

/** Settings of a draw, which the most likely token needs none of. */
const DRAW_KEYS = ["top_k", "top_p", "min_p", "seed"] as const;

/** Throws `UsageError` for settings of draws where none is made. */
function refuseIdleSampling(
  values: Readonly<Partial<Record<(typeof DRAW_KEYS)[number] | "temperature", unknown>>>,
): void {
  if ((values.temperature ?? GREEDY.temperature) !== 0) return;
  const idle = DRAW_KEYS.find((key) => values[key] !== undefined);
  if (idle === undefined) return;
  throw new UsageError(
    "cli.generate.greedy",
    `${flagName(idle)} ${String(values[idle])} would do nothing: at temperature 0 the most likely token is taken`,
    { remedy: "Draw tokens: --temperature 0.8." },
  );
}

function append(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
