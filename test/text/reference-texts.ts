/** Texts that tell implementations of the same tokenizer apart: spaces, signs, scripts, special tokens, odd characters. */
const PARTS = [
  ...["the ", "The", " fox", " it's", "'ll", "\n", "\n\n", "  ", "   ", "\t", "a", "b", "ab"],
  ...["Ünï", "é", "e\u0301", "ß", "İ", "ΣΑΣ", "🦊", "👩‍👩‍👧", "12", "345", "½", "Ⅷ", "，", "。"],
  ...["中文", "字", "한국", "ไทย", "\uFEFF", "\u0085", "\u00A0", "\u200b", "\u3000", "_", "-"],
  ...["--", "!?", "$1", "$&", "<s>", "</s>", "<unk>", "<|x|>", "▁", "a▁b", "①", "ﬁ", "\r\n", "\r"],
  ...["x".repeat(120), "_word", "don't", "DON'T", " .", " ,", "<0x41>", "ǆ", "\u0300"],
];

function* numbers(seed: number): Generator<number> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

export function referenceTexts(count: number): readonly string[] {
  const texts = ["", " ", "  ", "a", " a", "a ", "Hello world", "  Hello  world  ", "<s>a"];
  texts.push("a<s>", " <s> a", "a</s> b", "\uFEFFa b");
  const random = numbers(7);
  const below = (limit: number): number => Math.floor((random.next().value as number) * limit);
  while (texts.length < count) {
    let text = "";
    for (let parts = below(9); parts >= 0; parts--) text += PARTS[below(PARTS.length)] ?? "";
    texts.push(text);
  }
  return texts;
}

/** Every character that a text, or what a normalizer makes of it, may hold. */
export function charactersOf(texts: readonly string[]): readonly string[] {
  const found = new Set("▁abcdefghijklmnopqrstuvwxyzσς");
  for (let unit = 0; unit < 256 + 68; unit++) found.add(String.fromCharCode(unit));
  for (const text of texts) {
    for (const form of [text, text.toLowerCase(), text.normalize("NFKD"), text.normalize("NFC")])
      for (const character of form) found.add(character);
  }
  return [...found];
}
