/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/*
 * The roles are spelt out because a narrow screen shows rows as cards, by `display: block`, which takes
 * a table's own roles away in some browsers.
 */

type TableProps = { labelledBy: string; columns: string[]; children: Child }

export const Table = ({ labelledBy, columns, children }: TableProps) => (
  <table role="table" aria-labelledby={labelledBy}>
    <thead role="rowgroup">
      <tr role="row">
        {columns.map((column) => (
          <th role="columnheader" scope="col">
            {column}
          </th>
        ))}
      </tr>
    </thead>
    <tbody role="rowgroup">{children}</tbody>
  </table>
)

export const Row = ({ id, dead = false, children }: { id: string; dead?: boolean; children: Child }) => (
  <tr role="row" id={id} class={dead ? 'dead' : undefined}>
    {children}
  </tr>
)

/** The row's own name. */
export const HeadCell = ({ label, children }: { label: string; children: Child }) => (
  <th role="rowheader" scope="row" data-label={label}>
    {children}
  </th>
)

type CellProps = { label: string; kind?: 'number' | 'long' | 'action'; children?: Child }

export const Cell = ({ label, kind, children }: CellProps) => (
  <td role="cell" data-label={label} class={kind}>
    {children}
  </td>
)

/** What stands where a text is missing. */
export const Text = ({ of }: { of: string | null }) => (of === null ? <span class="quiet">none</span> : <>{of}</>)
