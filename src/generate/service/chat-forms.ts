import { ChatTemplate, TextError, withTemplateOf } from "../../text/index.ts";
import type { DescribedTokenizer, TurnEnd } from "../../text/index.ts";
import { GenerateError } from "../errors.ts";
import type { ServicePrompt } from "./messages.ts";

/** How conversations with a model are rendered, and what ends the model's turn. */
export interface ChatForm {
  readonly template: ChatTemplate;
  readonly turnEnd: TurnEnd;
}

/** A conversation as a request has it. */
type Conversation = Omit<Extract<ServicePrompt, { readonly kind: "chat" }>, "kind">;

/** The chat templates of a model and of its adapters: one that an adapter was trained with is the adapter's. */
export class ChatForms {
  /** By the adapter's name; the empty one is the model alone. */
  readonly #forms = new Map<string, ChatForm>();

  /** `adapters`: folders by name. */
  constructor(
    described: DescribedTokenizer,
    folder: string,
    adapters: readonly { readonly name: string; readonly folders: readonly string[] }[],
  ) {
    for (const { name, folders } of [{ name: "", folders: [] }, ...adapters]) {
      const owner = withTemplateOf(described, folders);
      const template = templateOf(owner.described, owner.folder ?? folder);
      if (template !== undefined) this.#forms.set(name, { template, turnEnd: template.turnEnd() });
    }
  }

  /** Of the model, or else of the first adapter that has one. */
  get source(): string | undefined {
    const [first] = this.#forms.values();
    return (this.#forms.get("") ?? first)?.template.source;
  }

  /** Throws `GenerateError` `generate.chat` where there is none. */
  of(adapter = ""): ChatForm {
    const form = this.#forms.get(adapter);
    if (form !== undefined) return form;
    throw new GenerateError("generate.chat", "this model has no chat template", {
      remedy: "Ask /v1/completions, or put a chat_template.jinja into its folder.",
    });
  }

  /** The tokens that a model goes on from. */
  render(adapter: string | undefined, chat: Conversation): readonly number[] {
    const { messages, tools, variables } = chat;
    return Array.from(this.of(adapter).template.render(messages, { tools, variables }).ids);
  }
}

/** The chat template of a model's files; nothing where they have none. */
function templateOf(described: DescribedTokenizer, folder: string): ChatTemplate | undefined {
  try {
    return new ChatTemplate(described, folder);
  } catch (error) {
    if (error instanceof TextError && error.code === "text.chat.none") return undefined;
    throw error;
  }
}
