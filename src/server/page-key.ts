import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync } from "node:fs";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { makeFolders } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { errorCode } from "../util/errors.ts";
import { Refusal } from "./errors.ts";

const FILE = ".page-key";

/**
 * What tells the person who started the page from others on this machine: a word that stands in a file of the runs'
 * folder, readable by its owner alone, and in the address that the command prints. It stays over restarts, so that a page
 * that is open goes on.
 */
export class PageKey {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The one of a folder of runs, made where there is none. */
  static of(runsFolder: string): PageKey {
    const path = join(runsFolder, FILE);
    makeFolders(runsFolder);
    const made = randomBytes(18).toString("base64url");
    try {
      const handle = openSync(path, "wx", 0o600);
      writeSync(handle, `${made}\n`);
      closeSync(handle);
      return new PageKey(made);
    } catch (error) {
      // A folder that nobody may write into can be looked at: nothing in it trains.
      if (errorCode(error) !== "EEXIST") return new PageKey(made);
    }
    const known = existsSync(path) ? Buffer.from(readSmallFile(path, 256)).toString().trim() : "";
    return new PageKey(known.length >= 16 ? known : made);
  }

  /** Throws `Refusal` 401 where an `Authorization` header is not `Bearer` and this key. */
  require(authorization: string | undefined): void {
    const [, given = ""] = /^Bearer\s+(.+)$/i.exec(authorization ?? "") ?? [];
    const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
    if (timingSafeEqual(digest(given), digest(this.text))) return;
    throw new Refusal(
      401,
      `actions take the page's key: open the address that \`anecdote dashboard\` printed, or give the key in ${FILE} of the runs' folder as Authorization: Bearer KEY`,
      { code: "page_key_missing", headers: { "WWW-Authenticate": "Bearer" } },
    );
  }
}
