/** @jsxImportSource hono/jsx */
/** A point in time, RFC 3339, as UTC text; a script turns it into local time where there is one. */
export const Time = ({ at, exact = false }: { at: string; exact?: boolean }) => (
  <time datetime={at} data-exact={exact ? '' : undefined}>{`${at.slice(0, 19).replace('T', ' ')} UTC`}</time>
)

export const TimeOrNever = ({ at }: { at: string | null }) =>
  at === null ? <span class="quiet">never</span> : <Time at={at} />

/**
 * How long is left, in minutes and seconds; a script counts it down, from the time at which the page was made. A timer is
 * not read out each second where what stands around it is.
 */
export const Countdown = ({ until, now }: { until: string; now: number }) => {
  const leftMs = Math.max(0, Date.parse(until) - now)
  return (
    <time class="countdown" role="timer" datetime={until} data-left={String(leftMs)} data-keep>
      {left(leftMs)}
    </time>
  )
}

/** Such as 9:58, 1:02:03 or 2 d 1:02:03: the same as the script writes. */
export const left = (ms: number): string => {
  const seconds = Math.ceil(ms / 1_000)
  const two = (n: number) => String(n).padStart(2, '0')
  const [days, hours, minutes] = [86_400, 3_600, 60].map((unit) => Math.floor(seconds / unit))
  const clock = `${(minutes ?? 0) % 60}:${two(seconds % 60)}`
  if (!hours) return clock
  const long = `${hours % 24}:${two((minutes ?? 0) % 60)}:${two(seconds % 60)}`
  return days ? `${days} d ${long}` : long
}
