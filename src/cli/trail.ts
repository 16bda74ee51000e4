import type { AuditRowJson } from './answers.ts'
import type { Client } from './client.ts'
import { clean, say, toJson, writeRaw } from './output.ts'

const FOLLOW_MS = 500

/** What the API's query takes, as it was typed. */
export type TrailFilter = Partial<Record<'actor' | 'action' | 'target' | 'since' | 'until', string>>

const detailsOf = (row: AuditRowJson): string => {
  const entries = Object.entries(row.details)
  return entries.length === 0 ? '' : toJson(row.details)
}

/** One row of the audit trail as a line. */
export const rowText = (row: AuditRowJson): string => {
  const target = row.targetName ?? row.targetId
  const parts = [String(row.sequence), row.time, row.actor, row.action, target ?? '-', row.reason ?? '', detailsOf(row)]
  return parts
    .filter((part) => part !== '')
    .map(clean)
    .join('  ')
}

/** The newest rows, the newest last. */
export const newest = async (client: Client, count: number, filter: TrailFilter): Promise<AuditRowJson[]> => {
  const rows: AuditRowJson[] = []
  const query = { ...filter, order: 'desc', limit: Math.min(count, 1_000) }
  for await (const page of client.pages<AuditRowJson>('/audit', query)) {
    rows.push(...page)
    if (rows.length >= count) break
  }
  return rows.slice(0, count).reverse()
}

/** Prints rows as they are written, until Ctrl-C. */
export const follow = async (client: Client, afterSequence: number, filter: TrailFilter): Promise<void> => {
  let after = afterSequence
  let following = true
  process.once('SIGINT', () => {
    following = false
  })
  while (following) {
    for await (const page of client.pages<AuditRowJson>('/audit', { ...filter, order: 'asc', after })) {
      for (const row of page) await say(rowText(row))
      after = page.at(-1)?.sequence ?? after
    }
    await Bun.sleep(FOLLOW_MS)
  }
}

/** The trail as one page of the API, written page by page: it may be larger than memory. */
export const writeAll = async (client: Client, filter: TrailFilter): Promise<void> => {
  let separator = '{"items":[\n'
  for await (const page of client.pages<AuditRowJson>('/audit', { ...filter, order: 'asc' })) {
    for (const row of page) {
      await writeRaw(separator + toJson(row))
      separator = ',\n'
    }
  }
  await writeRaw(`${separator === ',\n' ? '\n' : separator}],"next":null}\n`)
}
