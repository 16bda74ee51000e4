/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** Copies the text of the element with that id; there only where a script runs. */
export const CopyButton = ({ of, what }: { of: string; what: string }) => (
  <button type="button" class="copy" data-copy={of} aria-label={`Copy ${what}`}>
    Copy
  </button>
)

/** What people take elsewhere: the text, and the button that copies it. */
export const Copyable = ({ id, what, children }: { id: string; what: string; children: Child }) => (
  <span class="paste">
    <code id={id}>{children}</code>
    <CopyButton of={id} what={what} />
  </span>
)
