/** @jsxImportSource hono/jsx */

/** Something that happened after the request had arrived. */
export interface Phase {
  /** May be a name that came from elsewhere. */
  name: string
  /** How it is drawn; red is for what kills. */
  kind: 'plain' | 'cut' | 'after'
  /** Milliseconds since the arrival, from which on it was under way. */
  fromMs: number
  /** Milliseconds since the arrival; null where there is no figure. */
  ms: number | null
  /** What stands in place of the figure. */
  missing: string
}

export interface Scale {
  endMs: number
  /** From 0 to the end, evenly. */
  ticksMs: number[]
}

/** So many steps of the axis at the most, that its figures have room beside each other on a phone. */
const STEPS_MAX = 4

/** A linear axis from 0, in round steps, that holds the longest of the phases. */
export const scaleFor = (phases: readonly Phase[]): Scale => {
  const longest = Math.max(0, ...phases.map(({ ms }) => ms ?? 0)) || 1
  const power = 10 ** Math.floor(Math.log10(longest / STEPS_MAX))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size * STEPS_MAX >= longest) ?? longest
  const steps = Math.max(1, Math.ceil(longest / step))
  // 3 × 0.1 is 0.30000000000000004.
  const ticksMs = Array.from({ length: steps + 1 }, (_, index) => Number((index * step).toPrecision(6)))
  return { endMs: ticksMs.at(-1) ?? step, ticksMs }
}

/** Where it stands on the axis; in percent, so that a drawing of any width is to scale. */
export const placeOf = (ms: number, { endMs }: Scale): string => `${Number(((ms / endMs) * 100).toFixed(4))}%`

export const milliseconds = (ms: number): string => `${ms.toFixed(3)} ms`

const HEIGHT = 22
const MIDDLE = HEIGHT / 2

const Track = ({ phase: { kind, fromMs, ms }, scale }: { phase: Phase; scale: Scale }) => (
  <svg class="track" width="100%" height={HEIGHT} aria-hidden="true" focusable="false">
    {scale.ticksMs.map((tick) => (
      <line class="tick" x1={placeOf(tick, scale)} x2={placeOf(tick, scale)} y1="0" y2={HEIGHT} />
    ))}
    {ms !== null && (
      <>
        <rect
          class={`span ${kind}`}
          x={placeOf(Math.min(fromMs, ms), scale)}
          width={placeOf(ms - Math.min(fromMs, ms), scale)}
          y={MIDDLE - 3}
          height="6"
        />
        <circle class={`mark ${kind}`} cx={placeOf(ms, scale)} cy={MIDDLE} r="4.5" />
      </>
    )}
  </svg>
)

const anchorOf = (index: number, last: number): string => (index === 0 ? 'start' : index === last ? 'end' : 'middle')

/** More than this, such as `1000 ms`, leaves no room for the one before it on a phone. */
const LABEL_LENGTH_MAX = 7

/** The figures of the axis; in seconds where milliseconds would be long. Of hours, only the ends have room. */
const labelsOf = ({ endMs, ticksMs }: Scale): string[] => {
  const [unit, unitMs] = endMs < 2_000 ? ['ms', 1] : ['s', 1_000]
  const last = `${endMs / unitMs} ${unit}`
  const inner = ticksMs.slice(0, -1).map((tick) => String(Number((tick / unitMs).toPrecision(6))))
  return last.length > LABEL_LENGTH_MAX ? ['0', ...inner.slice(1).map(() => ''), last] : [...inner, last]
}

const Axis = ({ scale }: { scale: Scale }) => (
  <svg class="track scale" width="100%" height={HEIGHT} aria-hidden="true" focusable="false">
    {labelsOf(scale).map((label, index, { length }) => (
      <text x={placeOf(scale.ticksMs[index] ?? 0, scale)} y="15" text-anchor={anchorOf(index, length - 1)}>
        {label}
      </text>
    ))}
  </svg>
)

/**
 * What happened when, drawn to scale: a row for each phase, so that no two labels meet however close the phases are.
 * It is a table as well, for whoever hears it, with the exact figures.
 */
export const Timeline = ({ phases, labelledBy }: { phases: Phase[]; labelledBy: string }) => {
  const scale = scaleFor(phases)
  return (
    <div class="timeline" role="table" aria-labelledby={labelledBy}>
      <div role="row" class="unseen">
        <span role="columnheader">Phase</span>
        <span role="columnheader">Since the request arrived</span>
      </div>
      {phases.map((phase) => (
        <div role="row" class="phase">
          <bdi role="rowheader">{phase.name}</bdi>
          <Track phase={phase} scale={scale} />
          <span role="cell" class={phase.ms === null ? 'figure quiet' : 'figure'}>
            {phase.ms === null ? phase.missing : milliseconds(phase.ms)}
          </span>
        </div>
      ))}
      <div class="phase" aria-hidden="true">
        <span />
        <Axis scale={scale} />
        <span />
      </div>
    </div>
  )
}
