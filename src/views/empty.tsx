/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** What stands where nothing is yet: what this place is for, and what to do next. */
export const Empty = ({ title, children }: { title: string; children?: Child }) => (
  <div class="empty">
    <p class="empty-title">{title}</p>
    {children}
  </div>
)
