/** Numbers and reasons as people read them. */

const counts = new Intl.NumberFormat('en')

export const count = (n: number, noun: string, nouns = `${noun}s`): string =>
  `${counts.format(n)} ${n === 1 ? noun : nouns}`

export const number = (n: number): string => counts.format(n)

const rates = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 })

/** A share from 0 to 1. */
export const percent = (share: number): string => rates.format(share)

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

export const bytes = (n: number): string => {
  const power = Math.min(n < 1 ? 0 : Math.floor(Math.log10(n) / 3), BYTE_UNITS.length - 1)
  const scaled = n / 1000 ** power
  return `${power === 0 || scaled >= 100 ? Math.floor(scaled) : scaled.toFixed(1)} ${BYTE_UNITS[power]}`
}

/** A duration by its two largest units. */
export const age = (ms: number): string => {
  const seconds = Math.max(0, Math.floor(ms / 1_000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** Such as `5 s` or `1.5 s`. */
export const seconds = (ms: number): string => `${number(ms / 1_000)} s`

export const spaced = (slug: string): string => slug.replaceAll('_', ' ')
