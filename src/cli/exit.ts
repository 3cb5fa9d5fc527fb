/** Sets the exit code of a command that ends without an error. */
export type Exit = (code: number) => void;
