/**
 * The URL of a compiled file that stands beside `here`. Code runs from dist/ in use and from src/ under the
 * test runner; worker threads and .wasm files exist only in dist/, where the same build put them.
 */
export function compiledUrl(here: string, relativePath: string): URL {
  const url = new URL(relativePath.replace(/\.ts$/, ".js"), here);
  url.pathname = url.pathname.replace(/\/src\/(?!.*\/src\/)/, "/dist/");
  return url;
}
