/** Where a text stops being JSON, and in what way. */
export interface JsonDamage {
  /** In UTF-16 units. */
  readonly index: number;
  readonly reason: string;
}

const LITERALS = ["true", "false", "null"];
/** What Python and JavaScript write and JSON does not have. */
const FOREIGN = ["NaN", "Infinity", "-Infinity", "None", "True", "False", "undefined"];

/** Reads JSON only to tell where it is damaged. */
class DamageFinder {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  find(): JsonDamage | undefined {
    const damage = this.#value() ?? undefined;
    if (damage !== undefined) return damage;
    this.#skipBlanks();
    return this.#at < this.#text.length
      ? this.#damage(`something follows the value: ${this.#shown()}`)
      : undefined;
  }

  #value(): JsonDamage | undefined {
    this.#skipBlanks();
    const sign = this.#text.charAt(this.#at);
    if (sign === "{") return this.#members("}", () => this.#pair());
    if (sign === "[") return this.#members("]", () => this.#value());
    if (sign === '"') return this.#string();
    if (sign === "") return this.#damage("it ends in the middle");
    if (sign === "'") return this.#damage("single quotes instead of double ones");
    const foreign = FOREIGN.find((word) => this.#text.startsWith(word, this.#at));
    if (foreign !== undefined) return this.#damage(`${foreign} is not JSON, null is`);
    const literal = LITERALS.find((word) => this.#text.startsWith(word, this.#at));
    if (literal !== undefined) {
      this.#at += literal.length;
      return undefined;
    }
    const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(
      this.#text.slice(this.#at, this.#at + 400),
    );
    if (number === null) return this.#damage(`no value begins with ${this.#shown()}`);
    this.#at += number[0].length;
    return undefined;
  }

  #members(close: string, member: () => JsonDamage | undefined): JsonDamage | undefined {
    this.#at++;
    this.#skipBlanks();
    if (this.#take(close)) return undefined;
    for (;;) {
      const damage = member();
      if (damage !== undefined) return damage;
      this.#skipBlanks();
      if (this.#take(close)) return undefined;
      const comma = this.#at;
      if (!this.#take(",")) {
        return this.#damage(
          this.#at >= this.#text.length
            ? "it ends in the middle"
            : `a comma or ${close} is missing before ${this.#shown()}`,
        );
      }
      this.#skipBlanks();
      if (this.#text.charAt(this.#at) === close) {
        return { index: comma, reason: `a comma before ${close}` };
      }
    }
  }

  #pair(): JsonDamage | undefined {
    this.#skipBlanks();
    const sign = this.#text.charAt(this.#at);
    if (sign === "") return this.#damage("it ends in the middle");
    if (sign !== '"') return this.#damage("a name must stand in double quotes");
    const damage = this.#string();
    if (damage !== undefined) return damage;
    this.#skipBlanks();
    return this.#take(":") ? this.#value() : this.#damage("a colon is missing after a name");
  }

  #string(): JsonDamage | undefined {
    const start = this.#at;
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const sign = this.#text.charAt(this.#at);
      if (sign === '"') {
        this.#at++;
        return undefined;
      }
      if (sign < " ") {
        const code = sign.charCodeAt(0).toString(16).padStart(2, "0");
        return this.#damage(`a control character 0x${code} in a text, which must be escaped`);
      }
      if (sign !== "\\") continue;
      const escape = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.exec(
        this.#text.slice(this.#at, this.#at + 6),
      );
      if (escape === null) {
        return this.#damage(
          `${JSON.stringify(this.#text.slice(this.#at, this.#at + 2))} is no escape`,
        );
      }
      this.#at += escape[0].length - 1;
    }
    return { index: start, reason: "a text that begins here does not end" };
  }

  #take(sign: string): boolean {
    if (this.#text.charAt(this.#at) !== sign) return false;
    this.#at++;
    return true;
  }

  #skipBlanks(): void {
    while (/[ \t\n\r]/.test(this.#text.charAt(this.#at))) this.#at++;
  }

  #shown(): string {
    return JSON.stringify(this.#text.slice(this.#at, this.#at + 12));
  }

  #damage(reason: string): JsonDamage {
    return { index: this.#at, reason };
  }
}

/** What is wrong with a text that is not JSON; undefined where nothing is found. */
export function jsonDamage(text: string): JsonDamage | undefined {
  return new DamageFinder(text).find();
}

/** ", byte 12: a comma is missing" of a text that is not JSON; nothing where it cannot be said. */
export function damageWords(text: string): string {
  const damage = jsonDamage(text);
  if (damage === undefined) return "";
  return `, byte ${Buffer.byteLength(text.slice(0, damage.index)) + 1}: ${damage.reason}`;
}
