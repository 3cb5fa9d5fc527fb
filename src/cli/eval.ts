import type { Command } from "commander";
import { engineOptions } from "../engine/create.ts";
import { evaluateModel } from "../train/index.ts";
import { resolveOptions } from "../util/options.ts";
import type { Exit } from "./commands.ts";
import { UsageError } from "./errors.ts";
import { EVAL_OPTIONS } from "./generate-options.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { StatusLine } from "./terminal.ts";

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("eval")
    .description("loss and perplexity of a model on data, each token counted once")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  anecdote eval --model runs/shakespeare --data input.txt");
  addOptions(command, EVAL_OPTIONS);
  command.action(async (flags: { readonly json?: boolean }) => {
    const { values } = resolveOptions(EVAL_OPTIONS, [commandLineLayer(command, EVAL_OPTIONS)]);
    if (values.model === undefined || values.data === undefined) {
      throw new UsageError("cli.eval", "eval needs a model and data: --model DIR --data FILE");
    }
    const status = new StatusLine();
    const report = await evaluateModel({
      model: values.model,
      data: values.data,
      ...(values.batch_size !== undefined && { batchSize: values.batch_size }),
      ...(values.max_seq_length !== undefined && { sequenceLength: values.max_seq_length }),
      ...(values.by_document !== undefined && { byDocument: values.by_document }),
      ...(values.engine !== undefined && { engine: values.engine }),
      ...engineOptions(values),
      onProgress: (done, total) => status.show(`${done} of ${total} tokens`),
    });
    status.clear();
    process.stdout.write(
      flags.json === true
        ? `${JSON.stringify(report)}\n`
        : `loss ${report.loss.toFixed(4)} nats/token  perplexity ${report.perplexity.toFixed(3)}  over ${report.tokens} tokens\n`,
    );
  });
}
