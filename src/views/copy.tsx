/** @jsxImportSource hono/jsx */
/** Copies the text of the element with that id; there only where a script runs. */
export const CopyButton = ({ of, what }: { of: string; what: string }) => (
  <button type="button" class="copy" data-copy={of} aria-label={`Copy ${what}`}>
    Copy
  </button>
)
