import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { PRODUCTS } from "../generate/service/messages.ts";
import type { ServedAdapter } from "../generate/service/messages.ts";
import { DEFAULT_HOST } from "../server/listen.ts";
import { isLoopback } from "../server/safety.ts";
import { serveModel } from "../server/serve-model.ts";
import type { ServedModel } from "../server/serve-model.ts";
import { resolveModelFolder } from "../train/index.ts";
import { messageOf } from "../util/errors.ts";
import { noteStuckThread } from "../util/stuck-thread.ts";
import { choiceOption, numberOption, textOption, wholeOption } from "../util/options.ts";
import type { OptionValues } from "../util/options.ts";
import { append } from "./append.ts";
import { adapterOption, adapterSources } from "./adapter-option.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import type { Exit } from "./exit.ts";
import { GENERATE_OPTIONS, ENGINE_OPTIONS } from "./generate-options.ts";
import { Interruptions } from "./interruptions.ts";
import { addOptions, optionValues, requiredModel } from "./options.ts";
import { printNote, StatusLine, printJson } from "./terminal.ts";

const ACCESS = { group: "Access" };
const LIMITS = { group: "Limits" };

const SERVE_DEFAULTS = {
  host: DEFAULT_HOST,
  port: 8080,
  max_texts: 8,
  max_waiting: 64,
  prefix_cache: 256,
  stream_interval: 10,
  products: "rows",
  max_request: 8,
  grace: 30,
} as const;

/** Settings of `anecdote serve`. */
const SERVE_OPTIONS = {
  model: GENERATE_OPTIONS.model,
  model_name: textOption("the name that requests ask by (default: the folder's)", {
    placeholder: "NAME",
    aliases: ["served_model_name"],
  }),
  host: textOption("the address to listen at; 0.0.0.0 is every one of this machine", {
    ...ACCESS,
    placeholder: "ADDRESS",
  }),
  port: wholeOption("0 takes a free one", 0, { ...ACCESS, maximum: 65_535 }),
  api_key: textOption("wanted of requests; ANECDOTE_API_KEY does the same unseen by `ps`", {
    ...ACCESS,
    placeholder: "KEY",
  }),
  api_key_file: textOption("a file that holds the key", { ...ACCESS, placeholder: "FILE" }),
  max_texts: wholeOption("texts that are written at once", 1, {
    ...LIMITS,
    maximum: 256,
    aliases: ["max_batch_size", "parallel"],
  }),
  max_waiting: wholeOption("texts that may wait for their turn; one more gets status 429", 0, {
    ...LIMITS,
    maximum: 100_000,
  }),
  prefix_cache: numberOption("MiB of caches kept for prompts that begin alike; 0 = none", {
    ...LIMITS,
    minimum: 0,
    maximum: 1_048_576,
  }),
  stream_interval: numberOption(
    "milliseconds in which pieces of streamed texts wait to leave together; 0 sends each",
    { ...LIMITS, minimum: 0, maximum: 10_000 },
  ),
  max_request: numberOption("MiB of a request", { ...LIMITS, minimum: 0.001, maximum: 1024 }),
  grace: numberOption("seconds that answers have to end when the server is stopped", {
    ...LIMITS,
    minimum: 0,
    maximum: 86_400,
  }),
  weights: GENERATE_OPTIONS.weights,
  products: choiceOption(
    "what multiplies fp32 matrices on the CPU engine: rows, as generate does; packed, for a dozen texts at once or more, of which one alone takes longer",
    PRODUCTS,
  ),
  ...ENGINE_OPTIONS,
} as const;

type Values = OptionValues<typeof SERVE_OPTIONS>;

interface ServeFlags {
  readonly adapter: readonly string[];
  readonly allowedHost: readonly string[];
  readonly allowedOrigin: readonly string[];
  readonly json?: boolean;
}

const MEBIBYTE = 2 ** 20;

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("serve")
    .addOption(adapterOption(", served beside the model under its folder's name"))
    .option(
      "--allowed-host <name>",
      "another name of this server (may be given several times)",
      append,
      [],
    )
    .option(
      "--allowed-origin <origin>",
      "an origin whose pages may ask, as https://chat.example (may be given several times)",
      append,
      [],
    )
    .option("--json", "an event a line on standard output")
    .addHelpText(
      "after",
      `
Examples:
  anecdote serve --model runs/storyteller
  anecdote serve --model runs/storyteller --adapter runs/pirate --port 8000
  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' -d '{"model": "storyteller", "prompt": "Once upon a time", "max_tokens": 50}'

It answers /v1/chat/completions, /v1/completions, /v1/models, /health and /metrics.`,
    );
  addOptions(command, SERVE_OPTIONS, SERVE_DEFAULTS);
  command.action(async (flags: ServeFlags) => {
    exit(await serve(optionValues(command, SERVE_OPTIONS, SERVE_DEFAULTS), flags));
  });
}

async function serve(values: Values, flags: ServeFlags): Promise<number> {
  const { host = DEFAULT_HOST, port = 0 } = values;
  const folder = modelFolder(values);
  const modelName = values.model_name ?? basename(resolve(values.model ?? folder));
  const apiKey = keyOf(values);
  if (!isLoopback(host) && apiKey === undefined)
    printNote(
      `${host} is reached from other machines, and no API key is wanted: give one with ANECDOTE_API_KEY or --api-key-file`,
    );
  const status = new StatusLine();
  const stops = new Interruptions();
  try {
    const opening = serveModel({
      modelName,
      texts: {
        folder,
        adapters: adaptersOf(flags.adapter, modelName, folder),
        engine: values.engine,
        weights: values.weights,
        products: values.products,
        threads: values.threads,
        ane_driver: values.ane_driver,
        arithmetic: values.arithmetic,
        numerics: values.numerics,
        maximumTexts: values.max_texts ?? SERVE_DEFAULTS.max_texts,
        maximumWaiting: values.max_waiting ?? SERVE_DEFAULTS.max_waiting,
        prefixCacheBytes: (values.prefix_cache ?? SERVE_DEFAULTS.prefix_cache) * MEBIBYTE,
        streamIntervalMs: values.stream_interval,
        onProgress: (text) => status.show(text, true),
      },
      address: { host, port },
      access: {
        apiKey,
        allowedHosts: flags.allowedHost,
        allowedOrigins: flags.allowedOrigin.map(checkedOrigin),
        maximumBodyBytes: (values.max_request ?? SERVE_DEFAULTS.max_request) * MEBIBYTE,
        onInternalError: (error) => {
          const text = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
          process.stderr.write(`error: ${text}\n`);
        },
      },
    });
    const served = await Promise.race([opening, untilStopped(stops)]);
    status.clear();
    if (served === undefined) {
      // The thread that loads the model is left: it may be in native code for long.
      opening.catch(() => undefined);
      noteStuckThread();
      return EXIT_CODES.interrupted;
    }
    tellListening(served, modelName, flags);
    await untilStopped(stops);
    if (flags.json !== true) process.stderr.write("stopping: answers that were begun may end\n");
    const graceMs = (values.grace ?? SERVE_DEFAULTS.grace) * 1000;
    // A second request to stop does not wait.
    await Promise.race([served.close({ graceMs }), untilStopped(stops, 2)]);
    if (stops.count > 1) await Promise.race([served.close(), delay(LEAVE_AFTER_MS)]);
    if (flags.json === true) writeEvent({ kind: "stopped" });
    return EXIT_CODES.ok;
  } finally {
    status.clear();
    stops.end();
  }
}

const LEAVE_AFTER_MS = 2000;

function modelFolder({ model }: Values): string {
  return resolveModelFolder(requiredModel("serve", model), printNote);
}

function keyOf({ api_key: given, api_key_file: file }: Values): string | undefined {
  if (given !== undefined && file !== undefined)
    throw new UsageError("cli.serve.key", "--api-key and --api-key-file exclude each other");
  if (given !== undefined) return given;
  if (file === undefined) {
    const known = process.env["ANECDOTE_API_KEY"];
    return known === undefined || known === "" ? undefined : known;
  }
  let key: string;
  try {
    key = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new UsageError("cli.serve.key", `the key cannot be read: ${messageOf(error)}`);
  }
  if (key !== "") return key;
  throw new UsageError("cli.serve.key", `${file} holds no key`);
}

function checkedOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && url.origin === text && text !== "null") return text;
  throw new UsageError("cli.serve.origin", `--allowed-origin ${text} is no origin`, {
    remedy:
      "Write it as https://chat.example, with a port where it has one, and nothing behind it.",
  });
}

/** Adapters under their folders' names. */
function adaptersOf(
  texts: readonly string[],
  modelName: string,
  folder: string,
): readonly ServedAdapter[] {
  const names = new Set([modelName]);
  return texts.map((text) => {
    const name = basename(resolve(text.replace(/=[^=/]*$/, "")));
    if (names.has(name))
      throw new UsageError("cli.serve.adapter", `two models are called ${name}`, {
        remedy: "Rename a folder, or name the model with --model-name.",
      });
    names.add(name);
    return { name, sources: adapterSources([text], folder) };
  });
}

function tellListening(
  { server, service }: ServedModel,
  modelName: string,
  flags: ServeFlags,
): void {
  const { contextLength, engine, device, prepared, left } = service.facts;
  if (flags.json === true) {
    writeEvent({
      ...{ kind: "listening", url: server.url, host: server.host, port: server.port },
      ...{ model: modelName, context: contextLength, engine, device, prepared, left },
    });
    return;
  }
  process.stdout.write(`${modelName} on ${engine}, context ${contextLength}: ${server.url}/v1\n`);
  if (left.length > 0)
    printNote(
      `this process may compile no more programs: batches of ${left.join(", ")} (texts x positions) are written one text after another`,
    );
}

function writeEvent(event: object): void {
  printJson({ t: Date.now() / 1000, ...event });
}

/** Resolves once a stop was asked for so often. */
async function untilStopped(stops: Interruptions, often = 1): Promise<undefined> {
  return new Promise((stop) => {
    stops.listen((count) => {
      if (count >= often) stop(undefined);
    });
  });
}
