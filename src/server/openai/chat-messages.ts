import { z } from "zod";
import type { ChatMessage } from "../../text/index.ts";
import { Refusal } from "../errors.ts";

const MOST_MESSAGES = 4096;

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart).min(1)]);
const toolCall = z.strictObject({
  id: z.string(),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().min(1), arguments: z.string() }),
});
const name = z.string().nullish();

/** Messages as clients send them: texts alone; pictures and sounds are refused. */
export const MESSAGES = z
  .array(
    z.discriminatedUnion("role", [
      z.strictObject({ role: z.enum(["system", "developer", "user"]), content, name }),
      z.strictObject({
        role: z.literal("assistant"),
        content: content.nullish(),
        tool_calls: z.array(toolCall).nullish(),
        name,
        refusal: z.null().optional(),
        audio: z.null().optional(),
        function_call: z.null().optional(),
        reasoning_content: z.string().nullish(),
      }),
      z.strictObject({ role: z.literal("tool"), content, tool_call_id: z.string(), name }),
    ]),
  )
  .min(1)
  .max(MOST_MESSAGES);
type Message = z.infer<typeof MESSAGES>[number];

/**
 * Messages as chat templates read them: what a developer says is what the system says, contents are one text, arguments
 * of calls are objects. Throws `Refusal` for arguments that are none.
 */
export function templateMessages(messages: readonly Message[]): readonly ChatMessage[] {
  return messages.map((message, index) => {
    const text = textOf(message.content);
    const named = message.name == null ? {} : { name: message.name };
    switch (message.role) {
      case "system":
      case "developer":
        return { role: "system", content: text, ...named };
      case "user":
        return { role: "user", content: text, ...named };
      case "tool":
        return { role: "tool", content: text, tool_call_id: message.tool_call_id, ...named };
      case "assistant": {
        const { tool_calls: calls, reasoning_content: reasoning } = message;
        return {
          role: "assistant",
          content: text,
          ...named,
          ...(reasoning != null && { reasoning_content: reasoning }),
          ...(calls != null &&
            calls.length > 0 && {
              tool_calls: calls.map((call, at) => ({
                ...call,
                function: {
                  name: call.function.name,
                  arguments: argumentsOf(
                    call.function.arguments,
                    `messages[${index}].tool_calls[${at}].function.arguments`,
                  ),
                },
              })),
            }),
        };
      }
    }
  });
}

function textOf(given: z.infer<typeof content> | null | undefined): string {
  if (given == null) return "";
  return typeof given === "string" ? given : given.map(({ text }) => text).join("");
}

function argumentsOf(text: string, param: string): unknown {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Told below, as for other values that are no object.
  }
  throw new Refusal(400, `${param} must be a JSON object in a text`, {
    param,
    code: "invalid_value",
  });
}
