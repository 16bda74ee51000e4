/** @jsxImportSource hono/jsx */
/** A point in time, RFC 3339, as UTC text; a script turns it into local time where there is one. */
export const Time = ({ at, exact = false }: { at: string; exact?: boolean }) => (
  <time datetime={at} data-exact={exact ? '' : undefined}>{`${at.slice(0, 19).replace('T', ' ')} UTC`}</time>
)

export const TimeOrNever = ({ at }: { at: string | null }) =>
  at === null ? <span class="quiet">never</span> : <Time at={at} />
