import type { z } from "zod";

/** What a value has to be, in words that follow its name. */
export function plainProblem(issue: z.core.$ZodIssue | undefined): string {
  switch (issue?.code) {
    case "too_small":
      if (issue.origin === "string") return "must not be empty";
      return `must be ${issue.inclusive === true ? "at least" : "more than"} ${issue.minimum}`;
    case "too_big":
      return `must be ${issue.inclusive === true ? "at most" : "less than"} ${issue.maximum}`;
    case "invalid_type":
      return `must be ${typeWords(issue.expected)}`;
    case "invalid_value":
      return `must be ${issue.values.map(String).join(" or ")}`;
    case "unrecognized_keys":
      return `has keys that nobody knows: ${issue.keys.join(", ")}`;
    default:
      return "is not valid";
  }
}

/** A type as people call it: "a whole number". */
export function typeWords(expected: string): string {
  return TYPE_WORDS[expected] ?? expected;
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a text",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};
