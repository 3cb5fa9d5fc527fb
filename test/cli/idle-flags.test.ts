import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../helpers/cli.ts";
import { run } from "./in-process.ts";

/** A program whose sizes are fixed, and one that leaves one open. */
function programs(): { readonly fixed: string; readonly open: string; readonly folder: string } {
  const folder = temporaryFolder();
  const text = (size: string): string => `program(1.3)
{
  func main<ios17>(tensor<fp32, [${size}, 2]> x) {
    tensor<fp32, [${size}, 2]> y = relu(x = x);
  } -> (y);
}
`;
  const fixed = join(folder, "fixed.mil");
  const open = join(folder, "open.mil");
  writeFileSync(fixed, text("3"));
  writeFileSync(open, text("?"));
  return { fixed, open, folder };
}

const DOES_NOTHING: readonly (readonly [string, RegExp])[] = [
  ["train --overwrite", /--overwrite does nothing.*\n.*another --output-dir/],
  ["train --output x", /--output goes with --show mil/],
  ["train --show plan --print-config", /exclude each other/],
  ["train --print-config --power off", /--power does nothing beside --print-config/],
  ["train --list-presets --batch-size 4", /--batch-size does nothing beside --list-presets/],
  ["train --lr 1e-3 --learning-rate 1e-4 --print-config", /one setting, given twice/],
  ["train --batch-size 2 --batch-size 4 --print-config", /--batch-size is given twice/],
  ["train --print-config --print-config", /--print-config is given twice/],
  ["train --sample-prompt A --max-steps 2 --print-config --layers 1", /no samples are written/],
  ["train --numerics fp16 --engine cpu --print-config", /--numerics fp16 would do nothing/],
  ["train --scaling off --engine cpu --print-config", /--scaling off would do nothing/],
  ["train --placement linear-only --engine cpu --print-config", /--placement linear-only would do/],
  ["plan --preset nanogpt-char --method dpo --machines 2", /not planned for several machines/],
  ["plan --preset nanogpt-char --chip m4", /--chip does nothing without.*\n.*anecdote estimate/],
  ["train --threads 2 --engine reference --print-config", /--threads 2 would do nothing/],
  ["train --tap-bytes 9 --recompute full --print-config", /--tap-bytes 9 would do nothing/],
  ["train --text-field x --data stories --print-config", /--text-field x would do nothing/],
  [
    "train --min-learning-rate 1e-5 --lr-scheduler-type constant --print-config",
    /--min-learning-rate 0.00001 would do nothing/,
  ],
  ["plan --preset nanogpt-char --learning-rate 1e-4", /--learning-rate does nothing/],
  ["plan --preset nanogpt-char --lr 1e-4", /--learning-rate does nothing.*\n.*--show plan/],
  ["plan --preset nanogpt-char --data input.txt", /--data does nothing/],
  ["plan --preset nanogpt-char --resume", /--resume does nothing/],
  ["plan --preset nanogpt-char --seed 2", /--seed does nothing/],
  ["estimate --preset gpt2 --as-written", /--as-written is for a file's function/],
  ["estimate --preset gpt2 --host-copies", /--host-copies is for a file's function/],
  ["estimate FIXED --token", /--token is for models/],
  ["estimate FIXED --shape x=3x2", /--shape x would do nothing.*its sizes are fixed/],
  ["check FIXED --shape x=3x2", /--shape x would do nothing/],
  ["check FIXED --dim n=3", /--dim is for .onnx files/],
  ["check FIXED --overwrite", /--overwrite does nothing without --rewritten/],
  ["check FIXED --ane-driver e5rt", /--ane-driver does nothing without --chip/],
  ["run FIXED --random 1 --shape x=3x2", /--shape x would do nothing/],
  ["convert FIXED FOLDER/a.mlpackage --shape x=3x2", /--shape x would do nothing/],
  ["convert FIXED FOLDER/a.mlpackage --function main", /--function chooses what becomes an .onnx/],
  ["convert FIXED FOLDER/a.mlpackage --batch-size 2", /--batch-size and --max-seq-length are for/],
  ["diff FIXED OPEN --shape x=3x2", /--shape is for .onnx files/],
  ["diff FIXED OPEN --registers", /--registers is for engine programs/],
  ["inspect FIXED --registers", /--registers has no meaning for a mil file/],
  ["inspect FIXED --function main", /--function does nothing without --graph/],
  ["inspect FIXED --text --shape x=3x2", /--shape has no meaning for a mil file/],
  ["ops --missing relu", /--missing/],
  ["generate --model x --temperature 0 --top-k 3", /--top-k 3 would do nothing.*--temperature/s],
  ["generate --model x --temperature 0 --seed 3", /--seed 3 would do nothing.*--temperature/s],
  ["bench engine --overwrite --list", /--overwrite does nothing/],
  ["bench engine --overwrite --quick", /--overwrite does nothing without --output-dir/],
  ["doctor --no-self-test --quick", /--quick does nothing beside --no-self-test/],
  ["tokenizer train --data x --output y --kind byte --vocab-size 300", /--vocab-size/],
];

describe("flags that would do nothing are errors", () => {
  it.each(DOES_NOTHING)("%s", async (line, message) => {
    const { fixed, open, folder } = programs();
    const words = line
      .replaceAll("FIXED", fixed)
      .replaceAll("OPEN", open)
      .replaceAll("FOLDER", folder)
      .split(" ");
    const { code, stderr } = await run(...words);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it("in a file two spellings of one setting are told with their place", async () => {
    const file = join(temporaryFolder(), "run.yaml");
    writeFileSync(file, "learning_rate: 1e-3\nlr: 1e-4\n");
    const { code, stderr } = await run("train", "--config", file, "--print-config");
    expect(code).toBe(2);
    expect(stderr).toContain(`${file}: "learning_rate" and "lr" are one setting, given twice`);
    writeFileSync(file, "batch-size: 2\nbatch_size: 4\n");
    expect((await run("train", "--config", file, "--print-config")).stderr).toContain("twice");
    writeFileSync(file, "batch_size: 2\nbatch_size: 4\n");
    expect((await run("train", "--config", file, "--print-config")).stderr).toContain(file);
  });

  it("sizes that are open are still taken", async () => {
    const { open } = programs();
    expect((await run("check", open, "--shape", "x=3x2")).code).toBe(0);
  });
});

describe("plan", () => {
  it("is the same whatever its idle settings are in a file, and not for one that it takes", async () => {
    const file = join(temporaryFolder(), "run.yaml");
    const planOf = async (text: string): Promise<string> => {
      writeFileSync(file, text);
      const { code, stdout, stderr } = await run("plan", "--config", file, "--json");
      expect(code, stderr).toBe(0);
      return stdout;
    };
    const small = "layers: 1\nhidden_size: 32\nheads: 2\nmax_seq_length: 16\n";
    const plain = await planOf(small);
    const idle =
      "learning_rate: 1e-4\nseed: 9\nweight_decay: 0.3\nmax_grad_norm: 2\nmax_steps: 3\n";
    expect(await planOf(small + idle)).toBe(plain);
    expect(await planOf(`${small}data: x.txt\nsampling: documents\nloss_scale: 64\n`)).toBe(plain);
    for (const line of ["batch_size: 2", "recompute: full", "packing: true"]) {
      expect(await planOf(`${small}${line}\n`), line).not.toBe(plain);
    }
  });

  it("does not tell of settings that change none", async () => {
    const { stdout } = await run("plan", "--help-all");
    expect(stdout).toContain("--batch-size");
    expect(stdout).not.toMatch(/^ {2}--(?:learning-rate|seed|save-steps)/m);
  });
});

describe("names of other tools", () => {
  it.each([
    ["--device", "--engine"],
    ["--fp16", "--engine"],
    ["--bf16", "--engine"],
    ["--warmup-ratio", "--warmup-steps"],
    ["--optim", "--optimizer"],
    ["--max_steps", 'Did you mean "--max-steps"?'],
    ["--learnin-rate", 'Did you mean "--learning-rate"?'],
    ["--epoch", ""],
  ])("train %s says what is meant here", async (flag, hint) => {
    const { code, stderr } = await run("train", flag, "1");
    expect(code).toBe(2);
    expect(stderr).toContain(`unknown option '${flag}'`);
    expect(stderr).toContain(hint);
  });

  it("in a file too", async () => {
    const file = join(temporaryFolder(), "run.yaml");
    for (const [key, hint] of [
      ["fp16", "--engine"],
      ["warmup_ratio", "--warmup-steps"],
    ] as const) {
      writeFileSync(file, `${key}: 1\n`);
      const { code, stderr } = await run("train", "--config", file, "--print-config");
      expect(code).toBe(2);
      expect(stderr).toContain(`there is no option "${key}"`);
      expect(stderr).toContain(hint);
    }
  });

  it("an unknown command names the nearest", async () => {
    const { code, stderr } = await run("trian");
    expect(code).toBe(2);
    expect(stderr).toContain('Did you mean "train"?');
    expect((await run("tokenizer", "encod")).stderr).toContain('Did you mean "encode"?');
  });
});

describe("shapes of a model by flags", () => {
  const configOf = async (...words: readonly string[]): Promise<Record<string, unknown>> => {
    const { stdout, stderr } = await run("plan", ...words, "--json");
    expect(stderr).toBe("");
    return JSON.parse(stdout) as Record<string, unknown>;
  };

  it("sizes that are not given fit those that are", async () => {
    const { model } = await configOf(
      "--layers",
      "2",
      "--max-seq-length",
      "32",
      "--batch-size",
      "1",
    );
    expect(model).toMatchObject({
      config: {
        model_type: "llama",
        num_hidden_layers: 2,
        hidden_size: 128,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        intermediate_size: 352,
        vocab_size: 4096,
        max_position_embeddings: 32,
      },
    });
    const gpt2 = await configOf(
      ...["--family", "gpt2", "--hidden-size", "96", "--heads", "3", "--batch-size", "1"],
      ...["--max-seq-length", "32"],
    );
    expect(gpt2["model"]).toMatchObject({
      config: { model_type: "gpt2", n_embd: 96, n_head: 3, n_layer: 2, n_positions: 32 },
    });
  });

  it("change a preset in its proportions", async () => {
    const { model } = await configOf(
      "--preset",
      "microgpt-1.1b",
      "--hidden-size",
      "256",
      "--layers",
      "1",
    );
    expect(model).toMatchObject({
      config: {
        num_hidden_layers: 1,
        hidden_size: 256,
        num_attention_heads: 4,
        intermediate_size: 704,
        vocab_size: 32_000,
      },
    });
  });

  it("print how many numbers are trained", async () => {
    const { stdout } = await run("plan", "--preset", "nanogpt-char");
    expect(stdout).toMatch(/^gpt2, 4 layers of 128 channels, 4 heads, .* 8\d\dk parameters\n/i);
    const { stdout: told } = await run("estimate", "--preset", "nanogpt-char");
    expect(told).toContain("parameters");
  });

  it.each([
    ["--hidden-size 100 --heads 3", /100 is not a multiple of --heads 3.*\n.*--hidden-size 102/],
    ["--hidden-size 6 --heads 2", /heads of 3 channels.*even/],
    ["--heads 4 --kv-heads 3", /--heads 4 is not a multiple of --kv-heads 3/],
    ["--family gpt2 --heads 4 --kv-heads 2", /--kv-heads 2: a gpt2/],
    ["--family gtp2", /Did you mean "gpt2"/],
    ["--layers 0", /--layers must be at least 1/],
  ])("%s is refused by name", async (line, message) => {
    const { code, stderr } = await run("plan", ...line.split(" "));
    expect(stderr).toMatch(message);
    expect(code).not.toBe(0);
  });
});

describe("--model and --model-config", () => {
  it("give their context, vocabulary and tokenizer where nobody gave another", async () => {
    const folder = temporaryFolder();
    const model = join(folder, "model");
    mkdirSync(model);
    const config = {
      model_type: "llama",
      vocab_size: 300,
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      max_position_embeddings: 48,
    };
    writeFileSync(join(model, "config.json"), JSON.stringify(config));
    const valuesOf = async (...words: readonly string[]) => {
      const { stdout } = await run("train", ...words, "--print-config", "--json");
      const rows = JSON.parse(stdout) as { key: string; value: unknown; origin: string }[];
      return new Map(rows.map(({ key, value, origin }) => [key, `${String(value)} by ${origin}`]));
    };
    const values = await valuesOf("--model", model);
    expect(values.get("max_seq_length")).toBe("48 by model");
    expect(values.get("vocab_size")).toBe("300 by model");
    writeFileSync(join(model, "tokenizer.json"), "{}");
    expect((await valuesOf("--model", model)).get("tokenizer")).toBe(`${model} by model`);
    const shorter = await valuesOf("--model", model, "--max-seq-length", "8");
    expect(shorter.get("max_seq_length")).toBe("8 by command line");
    for (const command of ["plan", "estimate"]) {
      const { code, stdout, stderr } = await run(command, "--model", model);
      expect(stderr).toBe("");
      expect(code).toBe(0);
      expect(stdout).toContain("vocabulary 300, context 48");
    }
    const sized = await run("plan", "--model", model, "--layers", "3");
    expect(sized.stderr).toMatch(/--layers 3 would do nothing: the model .* has the sizes it has/);
  });

  it("take sizes that a config.json leaves out from the tokenizer and the context", async () => {
    const file = join(temporaryFolder(), "config.json");
    const config = { model_type: "gpt2", n_embd: 32, n_layer: 1, n_head: 2 };
    writeFileSync(file, JSON.stringify(config));
    const { stdout, stderr } = await run(
      ...["plan", "--model-config", file, "--vocab-size", "512", "--max-seq-length", "24"],
      ...["--batch-size", "1", "--json"],
    );
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({
      model: { config: { vocab_size: 512, n_positions: 24 } },
    });
  });

  it.each([
    [{ model_type: "gpt2", n_layer: 1, n_head: 2 }, /"n_embd" is missing: a number/],
    [
      { model_type: "gpt2", n_embd: "x", n_layer: 1, n_head: 2 },
      /"n_embd" must be a number, not "x"/,
    ],
    [
      { model_type: "gpt2", n_embd: 8, n_layer: 0, n_head: 2 },
      /"n_layer" must be more than 0, not 0/,
    ],
    [
      { model_type: "gpt2", n_embd: 8, n_layers: 2, n_head: 2 },
      /"n_layer" is missing.*"n_layers"/s,
    ],
    [{ model_type: "gtp2" }, /Did you mean "gpt2"/],
  ])("%j is told in plain words", async (config, message) => {
    const file = join(temporaryFolder(), "config.json");
    writeFileSync(file, JSON.stringify(config));
    const { code, stderr } = await run("plan", "--model-config", file);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/expected|received|Invalid/);
  });

  it("a preset with a smaller learning rate ends at a smaller one", async () => {
    const rateOf = async (...words: readonly string[]) => {
      const { stdout } = await run("train", "--preset", "nanogpt-char", ...words, "--print-config");
      return /min_learning_rate: (\S+)/.exec(stdout)?.[1];
    };
    expect(await rateOf()).toBe("0.0001");
    expect(await rateOf("--learning-rate", "1e-4")).toBe("0.00001");
    expect(await rateOf("--learning-rate", "5e-5", "--min-lr", "2e-5")).toBe("0.00002");
    expect(await rateOf("--learning-rate", "2e-3")).toBe("0.0001");
    const wrong = await run(
      ...["train", "--learning-rate", "1e-5", "--min-lr", "1e-4", "--print-config"],
    );
    expect(wrong.stderr).toContain("min_learning_rate 0.0001 is above learning_rate 0.00001");
  });
});

describe("words that have no place", () => {
  it.each([
    ["train stories15M", "Did you mean --preset stories15M?"],
    ["plan stories15M", "Did you mean --preset stories15M?"],
    ["train FILE", "Did you mean --data FILE?"],
    ["eval FOLDER", "Did you mean --model FOLDER?"],
    ["generate hello", "Did you mean --prompt hello?"],
    ["estimate stories15M", "stories15M is no file, but a preset: --preset stories15M"],
  ])("%s", async (line, hint) => {
    const { fixed, folder } = programs();
    const named = (text: string): string =>
      text.replaceAll("FILE", fixed).replaceAll("FOLDER", folder);
    const { code, stderr } = await run(...named(line).split(" "));
    expect(code).toBe(2);
    expect(stderr).toContain(named(hint));
  });
});
