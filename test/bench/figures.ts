const sorted = (values: number[]): number[] => values.toSorted((a, b) => a - b)

/** The smallest value that at least so many hundredths do not exceed. */
export const percentile = (values: number[], hundredths: number): number =>
  sorted(values)[Math.max(0, Math.ceil((values.length * hundredths) / 100) - 1)] ?? Number.NaN

export const median = (values: number[]): number => percentile(values, 50)

export type Figures = { count: number; median: number; p99: number; min: number; max: number }

export const figuresOf = (values: number[]): Figures => ({
  count: values.length,
  median: round(median(values)),
  p99: round(percentile(values, 99)),
  min: round(Math.min(...values)),
  max: round(Math.max(...values)),
})

export const round = (value: number): number => Math.round(value * 1000) / 1000

/** One contender's figure divided by another's, round by round: what else the machine did meanwhile cancels out. */
export type Ratio = { to: string; ratio: number; min: number; max: number }

export const ratioOf = (to: string, own: number[], others: number[]): Ratio => {
  const ratios = own.map((value, at) => value / (others[at] ?? Number.NaN))
  return { to, ratio: round(median(ratios)), min: round(Math.min(...ratios)), max: round(Math.max(...ratios)) }
}
