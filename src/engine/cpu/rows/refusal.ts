/** Why a section is no row program. */
export class Refusal extends Error {}

/** Gives up the section that is being compiled; `compileRows` answers with the reason. */
export function refuse(reason: string): never {
  throw new Refusal(reason);
}
