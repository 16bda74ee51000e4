import { csvLine } from '../csv.ts'
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

export const csvHead = csvLine(COLUMNS)
export const csvRow = (row: AuditRowJson): string => csvLine(COLUMNS.map((column) => row[column]))
