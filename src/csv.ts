// Spreadsheets run what begins like this as a formula, in full width too, and some of these texts come from strangers.
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/

/** One cell as RFC 4180 wants it. */
const cell = (value: unknown): string => {
  const text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
  const safe = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** One line of CSV with its line end. */
export const csvLine = (values: readonly unknown[]): string => `${values.map(cell).join(',')}\r\n`
