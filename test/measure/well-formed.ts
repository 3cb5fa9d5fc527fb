const VOID = new Set(["meta", "br", "hr", "img", "input", "link"]);
const TAG = /<(\/?)([a-zA-Z!][a-zA-Z0-9]*)((?:\s+[a-zA-Z_:][\w:.-]*(?:="[^"<]*")?)*)\s*(\/?)>/y;

/**
 * Throws unless every tag of a page is closed in order, every attribute is quoted, and every `<` and `&` of the
 * text begins a tag or an entity. Stricter than HTML, which forgives all of it.
 */
export function wellFormed(page: string): void {
  const open: string[] = [];
  let at = 0;
  while (at < page.length) {
    const next = page.indexOf("<", at);
    const text = page.slice(at, next === -1 ? page.length : next);
    if (open.at(-1) !== "style" && /&(?!(?:amp|lt|gt|quot|#39);)/.test(text))
      throw new Error(`a bare & in "${text.slice(0, 80)}"`);
    if (next === -1) break;
    TAG.lastIndex = next;
    const tag = TAG.exec(page);
    if (tag === null) throw new Error(`no tag at "${page.slice(next, next + 80)}"`);
    const [whole, isEnd, name = "", , isEmpty] = tag;
    if (isEnd !== "") {
      const last = open.pop();
      if (last !== name) throw new Error(`</${name}> closes <${last ?? "nothing"}>`);
    } else if (isEmpty === "" && !VOID.has(name) && name !== "!doctype") open.push(name);
    at = next + whole.length;
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(", ")}`);
}
