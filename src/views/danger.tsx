/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/**
 * Attributes of a link or a form that lead to a confirmation: it opens in the dialog of the page, or as a page of
 * its own where no script runs.
 */
export const opens = (url: string) => ({
  'hx-get': url,
  'hx-target': '#confirm',
  'hx-select': '#main > *',
  'hx-swap': 'innerHTML ignoreTitle:true',
  'aria-haspopup': 'dialog' as const,
})

type DangerLinkProps = { href: string; id?: string; label?: string; children: Child }

/** The first of the two steps of what can't be undone: it only leads to the question. */
export const DangerLink = ({ href, id, label, children }: DangerLinkProps) => (
  <a class="button danger" id={id} href={href} aria-label={label} {...opens(href)}>
    {children}
  </a>
)
