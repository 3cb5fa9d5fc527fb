import type { SettingsView } from "../../src/server/runs/views.ts";
import { linkTo } from "../router.ts";
import { TableBox } from "./kit.tsx";

/** A setting as text. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Settings of some runs, a column each; rows in which they differ stand out. */
export function SettingsTable({
  ids,
  rows,
}: {
  readonly ids: readonly string[];
  readonly rows: SettingsView["rows"];
}) {
  const isOne = ids.length === 1;
  return (
    <TableBox label={isOne ? "Settings" : "Settings of these runs"}>
      <table>
        <thead>
          <tr>
            <th scope="col">setting</th>
            {ids.map((id) => (
              <th scope="col" key={id}>
                {isOne ? "value" : <a href={linkTo("run", id)}>{id}</a>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name} class={row.isDifferent ? "different" : ""}>
              <th scope="row">
                <code>{row.name}</code>
              </th>
              {row.values.map((value, index) => (
                <td key={ids[index]} class="value">
                  {shown(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}
