/** Uses what has to be closed afterwards, and closes it whatever comes of that. */
export function closing<Resource extends { close: () => void }, Result>(
  resource: Resource,
  use: (resource: Resource) => Result,
): Result {
  try {
    return use(resource);
  } finally {
    resource.close();
  }
}
