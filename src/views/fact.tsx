/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** One line of a list of facts (`dl`). */
export const Fact = ({ term, children }: { term: string; children: Child }) => (
  <>
    <dt>{term}</dt>
    <dd>{children}</dd>
  </>
)
