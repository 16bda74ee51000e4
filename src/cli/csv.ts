import type { AuditRowJson } from './answers.ts'

const COLUMNS = [
  'sequence',
  'time',
  'node',
  'actor',
  'action',
  'targetId',
  'targetName',
  'reason',
  'details',
  'previousHash',
  'hash',
] as const satisfies readonly (keyof AuditRowJson)[]

// Spreadsheets run what begins like this as a formula, and names in the audit trail come from strangers.
const FORMULA = /^[=+\-@\t\r]/

/** One cell as RFC 4180 wants it. */
const cell = (value: AuditRowJson[keyof AuditRowJson]): string => {
  const text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
  const safe = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export const csvHead = `${COLUMNS.join(',')}\r\n`
export const csvRow = (row: AuditRowJson): string => `${COLUMNS.map((column) => cell(row[column])).join(',')}\r\n`
