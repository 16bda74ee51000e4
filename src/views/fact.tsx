/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** Names of secrets; their values are shown nowhere. */
export const Secrets = ({ names, none }: { names: string[]; none: string }) =>
  names.length === 0 ? (
    <span class="quiet">{none}</span>
  ) : (
    <ul>
      {names.map((name) => (
        <li>
          <code>{name}</code> <span class="quiet">***</span>
        </li>
      ))}
    </ul>
  )

/** One line of a list of facts (`dl`). */
export const Fact = ({ term, children }: { term: string; children: Child }) => (
  <>
    <dt>{term}</dt>
    <dd>{children}</dd>
  </>
)
