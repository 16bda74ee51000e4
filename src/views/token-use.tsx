/** @jsxImportSource hono/jsx */
import type { UsageWindow } from '../usage.ts'
import { Chart } from './chart.tsx'
import { Time } from './time.tsx'
import { tokenPath, type TokenView } from './token-view.ts'
import { count, number } from './words.ts'

/** What a token did, evenly spaced, the oldest first. */
export interface UsageCard {
  window: UsageWindow
  bucketMs: number
  items: { at: string; requests: number; refusals: number }[]
}

const WINDOWS: Record<UsageWindow, { name: string; stretch: string; bucket: string }> = {
  hour: { name: 'Hour', stretch: 'the last hour', bucket: 'minute' },
  day: { name: 'Day', stretch: 'the last 24 hours', bucket: 'quarter of an hour' },
  month: { name: 'Month', stretch: 'the last 30 days', bucket: 'day' },
}

const Windows = ({ id, view }: { id: string; view: TokenView }) => (
  <nav class="windows" aria-label="How far back requests are drawn">
    {(Object.keys(WINDOWS) as UsageWindow[]).map((window) => (
      <a
        class="button"
        href={`${tokenPath(id, { ...view, window })}#use`}
        aria-current={window === view.window ? 'page' : undefined}
      >
        {WINDOWS[window].name}
      </a>
    ))}
  </nav>
)

/** The figures behind the drawing; what holds nothing is left out. */
const Figures = ({ items }: { items: UsageCard['items'] }) => (
  <details id="figures" class="detail">
    <summary>The figures</summary>
    <ul>
      {items.map(({ at, requests, refusals }) => (
        <li>
          <Time at={at} /> {count(requests, 'request')}, {number(refusals)} refused
        </li>
      ))}
    </ul>
  </details>
)

type UseProps = { id: string; view: TokenView; usage: UsageCard }

export const TokenUse = ({ id, view, usage: { window, items } }: UseProps) => {
  const { stretch, bucket } = WINDOWS[window]
  const some = items.filter(({ requests, refusals }) => requests + refusals > 0)
  const requests = some.reduce((sum, item) => sum + item.requests, 0)
  const refusals = some.reduce((sum, item) => sum + item.refusals, 0)
  const most = Math.max(0, ...some.map((item) => item.requests))
  const total = `${count(requests, 'request')}, ${number(refusals)} refused in ${stretch}`
  return (
    <section class="card" aria-labelledby="use">
      <div class="heading">
        <h2 id="use">Requests</h2>
        <Windows id={id} view={view} />
      </div>
      <p>{some.length === 0 ? `None in ${stretch}.` : `${total}; ${number(most)} in the busiest ${bucket}.`}</p>
      <Chart
        tall
        label={`Requests by the ${bucket}: ${total}`}
        series={[
          { kind: 'live', values: items.map((item) => item.requests + item.refusals) },
          { kind: 'wrong', values: items.map((item) => item.refusals) },
        ]}
      />
      <p class="axis">
        <Time at={items[0]?.at ?? ''} />
        <span>
          <span class="legend">requests</span> <span class="legend wrong">refused</span>
        </span>
        <span>now</span>
      </p>
      {some.length > 0 && <Figures items={some} />}
    </section>
  )
}
