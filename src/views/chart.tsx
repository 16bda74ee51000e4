/** @jsxImportSource hono/jsx */
/** One kind of bar: drawn over the ones before it. */
export interface Series {
  /** How it looks: see `.bar` in app.css. */
  kind: 'plain' | 'live' | 'wrong'
  values: readonly number[]
}

const HEIGHT = 100

/** Bars as one path: an element a bar would be most of a page. */
const barsPath = (values: readonly number[], max: number): string =>
  values
    .map((value, index) => {
      if (value <= 0) return ''
      // What is there must be seen, however small beside the largest.
      const height = Math.max(3, Math.round((value / max) * HEIGHT))
      return `M${index + 0.1} ${HEIGHT}V${HEIGHT - height}h.8V${HEIGHT}z`
    })
    .join('')

type ChartProps = {
  /** What it shows, in words, with its figures: it is read out in place of the drawing. */
  label: string
  series: Series[]
  /** The value that is as high as the chart; the highest one of all where it is left out. */
  max?: number
  /** For a page that is about it. */
  tall?: boolean
}

/** Small bars without axes; the figures stand beside it in words. */
export const Chart = ({ label, series, max, tall = false }: ChartProps) => {
  const count = Math.max(1, ...series.map(({ values }) => values.length))
  const top = max ?? Math.max(1, ...series.flatMap(({ values }) => values))
  return (
    <svg
      class={tall ? 'chart tall' : 'chart'}
      role="img"
      aria-label={label}
      viewBox={`0 0 ${count} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      {series.map(({ kind, values }) => (
        <path class={`bar ${kind}`} d={barsPath(values, top)} />
      ))}
    </svg>
  )
}
