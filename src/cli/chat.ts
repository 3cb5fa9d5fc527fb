import { wrapped } from "../util/format.ts";
import { createInterface } from "node:readline/promises";
import { randomInt } from "node:crypto";
import type { Command } from "commander";
import { engineOptions } from "../engine/create.ts";
import { Chat } from "../generate/index.ts";
import type { GeneratedText, GenerateOptions } from "../generate/index.ts";
import { resolveModelFolder, TRAIN_OPTIONS } from "../train/index.ts";
import { AnecdoteError } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { textOption } from "../util/options.ts";
import type { OptionValues } from "../util/options.ts";
import { adapterOption, adapterSources } from "./adapter-option.ts";
import { append } from "./append.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import {
  GENERATE_OPTIONS,
  SAMPLING_OPTIONS,
  ENGINE_OPTIONS,
  samplingOf,
} from "./generate-options.ts";
import { addOptions, optionValues, requiredModel } from "./options.ts";
import { printNote, styled, printJson } from "./terminal.ts";
import type { WritingFlags } from "./generate-options.ts";

const CHAT_OPTIONS = {
  model: GENERATE_OPTIONS.model,
  system: textOption("what the model is told before all else", { placeholder: "TEXT" }),
  prompt: textOption("one question; its answer is written, and that is all", {
    placeholder: "TEXT",
  }),
  load: textOption("a conversation that /save wrote, to go on with", { placeholder: "FILE" }),
  chat_template: { ...TRAIN_OPTIONS.chat_template, group: "Sampling" },
  ...SAMPLING_OPTIONS,
  seed: GENERATE_OPTIONS.seed,
  weights: GENERATE_OPTIONS.weights,
  ...ENGINE_OPTIONS,
} as const;

type Values = OptionValues<typeof CHAT_OPTIONS>;

const ANSWER_TOKENS = 512;
const SEED_LIMIT = 2 ** 31;

const COMMANDS = {
  "/help": "these words",
  "/system [TEXT]": "what the model is told before all else; without a text, nothing",
  "/retry": "another answer to the last question",
  "/edit TEXT": "asks this in place of the last question",
  "/adapter [DIR[=WEIGHT] ...]": "answers with these adapters from here on; without any, with none",
  "/history": "all that was said",
  "/save FILE": "keeps the conversation",
  "/load FILE": "goes on with one that was kept",
  "/reset": "forgets what was said",
  "/quit": "ends; so does the end of the input",
} as const;

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("chat")
    .option("--stop <text>", "end where this text appears (may be given several times)", append, [])
    .addOption(adapterOption(" beside the model"))
    .option("--json", "a JSON object for each answer, one a line")
    .addHelpText(
      "after",
      `
A line is a question; one that begins with / is a command: /help lists them. Ctrl-C ends an answer, a second one the
conversation. What was read stays in the model's cache between turns. Where the input is no terminal its lines are
asked one after the other.

Examples:
  anecdote chat --model models/smol --system "Answer in one sentence."
  anecdote chat --model models/base --adapter runs/mine --prompt "Who are you?"`,
    );
  addOptions(command, CHAT_OPTIONS);
  command.action(async (flags: WritingFlags) => {
    const values = optionValues(command, CHAT_OPTIONS);
    const model = requiredModel("chat", values.model);
    const folder = resolveModelFolder(model, printNote);
    const chat = await Chat.open(folder, {
      adapters: adapterSources(flags.adapter, folder),
      ...{ system: values.system, chatTemplate: values.chat_template, onNote: printNote },
      weights: values.weights,
      ...(values.engine !== undefined && { engine: values.engine }),
      ...engineOptions(values),
    });
    try {
      if (values.load !== undefined) chat.load(values.load);
      const talk = new Talk(chat, folder, values, flags);
      if (values.prompt === undefined) await talk.all();
      else await talk.ask(values.prompt);
    } finally {
      await chat.close();
    }
  });
}

/** A conversation at the terminal. */
class Talk {
  readonly #chat: Chat;
  readonly #folder: string;
  readonly #values: Values;
  readonly #flags: WritingFlags;
  #answerCount = 0;
  #abort: AbortController | undefined;

  constructor(chat: Chat, folder: string, values: Values, flags: WritingFlags) {
    this.#chat = chat;
    this.#folder = folder;
    this.#values = values;
    this.#flags = flags;
  }

  /** Until the input ends. What goes wrong in a turn is told, and the conversation goes on. */
  async all(): Promise<void> {
    const isTerminal = process.stdin.isTTY;
    const lines = createInterface({
      ...{ input: process.stdin, output: process.stderr, terminal: isTerminal },
      prompt: styled(process.stderr, "bold", "> "),
    });
    lines.on("SIGINT", () => {
      if (this.#abort === undefined) lines.close();
      else this.#abort.abort();
    });
    const prompt = (): void => {
      if (isTerminal) lines.prompt();
    };
    if (isTerminal) process.stderr.write("/help lists what can be done; /quit ends\n");
    prompt();
    for await (const line of lines) {
      if (line.trim() === "/quit" || line.trim() === "/exit") break;
      try {
        if (line.trim() !== "") await this.#line(line);
      } catch (error) {
        // Scripts stop at what goes wrong; people go on.
        if (!isTerminal || !(error instanceof AnecdoteError)) throw error;
        process.stderr.write(`${styled(process.stderr, "red", "error:")} ${error.message}\n`);
      }
      prompt();
    }
    lines.close();
  }

  async ask(text: string): Promise<void> {
    await this.#answer((options) => this.#chat.say(text, options));
  }

  async #line(line: string): Promise<void> {
    if (!line.startsWith("/")) {
      await this.ask(line);
      return;
    }
    const [name = "", rest = ""] = /^(\S+)\s*(.*)$/s.exec(line)?.slice(1) ?? [];
    switch (name) {
      case "/help":
        for (const [words, help] of Object.entries(COMMANDS))
          process.stderr.write(`${wrapped(`${words.padEnd(28)} `, help)}\n`);
        break;
      case "/system":
        this.#chat.system = rest;
        break;
      case "/retry":
        await this.#answer((options) => this.#chat.retry(options));
        break;
      case "/edit":
        requireText(name, rest);
        await this.#answer((options) => this.#chat.edit(rest, options));
        break;
      case "/adapter":
        await this.#chat.setAdapters(
          adapterSources(
            rest.split(/\s+/).filter((word) => word !== ""),
            this.#folder,
          ),
        );
        break;
      case "/history":
        for (const { role, content } of this.#chat.messages) {
          const text = typeof content === "string" ? content : JSON.stringify(content);
          process.stdout.write(`${styled(process.stdout, "bold", role)}: ${text}\n`);
        }
        break;
      case "/save":
        requireText(name, rest);
        this.#chat.save(rest);
        break;
      case "/load":
        requireText(name, rest);
        this.#chat.load(rest);
        break;
      case "/reset":
        this.#chat.reset();
        break;
      default: {
        const names = Object.keys(COMMANDS).map((words) => words.split(" ")[0] ?? "");
        throw new UsageError(
          "cli.chat.command",
          `there is no command ${name}.${didYouMean(name, names)}`,
          { remedy: "/help lists them." },
        );
      }
    }
  }

  /** Writes an answer as it comes. One that is ended by Ctrl-C is not part of the conversation. */
  async #answer(write: (options: GenerateOptions) => Promise<GeneratedText>): Promise<void> {
    const isJson = this.#flags.json === true;
    this.#abort = new AbortController();
    try {
      const written = await write({
        maxTokens: this.#values.max_tokens ?? ANSWER_TOKENS,
        seed: (this.#values.seed ?? randomInt(SEED_LIMIT)) + this.#answerCount++,
        ...samplingOf(this.#values),
        ...{ stop: this.#flags.stop, signal: this.#abort.signal },
        ...(!isJson && { onText: (piece: string) => void process.stdout.write(piece) }),
      });
      this.#tell(written);
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
      process.stderr.write("\nstopped; the question is not part of the conversation\n");
    } finally {
      this.#abort = undefined;
    }
  }

  #tell({ text, tokenCount, promptTokenCount, reusedTokenCount, ...rest }: GeneratedText): void {
    if (this.#flags.json === true) {
      const counts = { tokens: tokenCount, prompt_tokens: promptTokenCount };
      printJson({
        ...{ role: "assistant", content: text, ...counts, reused_tokens: reusedTokenCount },
        ...{ tokens_per_second: rest.tokensPerSecond, stop_reason: rest.stopReason },
      });
      return;
    }
    process.stdout.write("\n");
    process.stderr.write(
      `${styled(process.stderr, "dim", `${tokenCount} tokens, ${rest.tokensPerSecond.toFixed(1)} tokens/s, ${reusedTokenCount} of ${promptTokenCount} read before, ended by ${rest.stopReason}`)}\n`,
    );
  }
}

function requireText(name: string, text: string): void {
  if (text !== "") return;
  throw new UsageError("cli.chat.command", `${name} needs a text behind it`);
}
