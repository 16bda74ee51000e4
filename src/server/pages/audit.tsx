/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { type AuditRow, hashedText } from '../../audit.ts'
import { notFound } from '../../error.ts'
import type { AuditFilter, Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import type { AuditEventCard } from '../../views/audit-event.tsx'
import { auditUrl } from '../../views/audit-filter.tsx'
import { AuditRowPage } from '../../views/audit-row.tsx'
import { AuditLive, type AuditNews, AuditPage } from '../../views/audit.tsx'
import { numberAfter } from '../api/page.ts'
import { auditJson, verificationJson } from '../api/present.ts'
import { auditFilterOf } from './audit-filter.ts'
import { type Elsewhere, elsewhereIn } from './elsewhere.ts'
import { FORM } from './form.ts'
import { frameOf, isScript, page, partial, seeOther } from './page.ts'
import { personOf } from './person.ts'

const AROUND_MS = 5 * 60_000

/** The page of what a row is about, while there is one. A name alone leads nowhere: another may have it by now. */
const hrefOf = (node: Node, { targetId }: AuditRow, details: Record<string, unknown>): string | null => {
  const revocation = details['revocation']
  if (typeof revocation === 'string' && targetId === revocation) return `/revocations/${encodeURIComponent(revocation)}`
  if (targetId === null) return null
  if (node.tokens.has(targetId)) return `/tokens/${encodeURIComponent(targetId)}`
  const server = node.servers.byId.get(targetId)
  return server && server.removedAt === null ? `/servers/${encodeURIComponent(server.name)}` : null
}

/** A row as pages tell it. */
export const auditCard = (node: Node, row: AuditRow, elsewhere: Elsewhere): AuditEventCard => {
  const json = auditJson(row)
  const { revocation } = json.details
  return {
    ...json,
    on: elsewhere(row.node),
    href: hrefOf(node, row, json.details),
    receipt: typeof revocation === 'string' ? `/revocations/${encodeURIComponent(revocation)}` : null,
  }
}

/** Of the fields of a form, those that say something: an address that is passed on should be short. */
const withoutEmpty = (query: URLSearchParams): URLSearchParams =>
  new URLSearchParams([...query].filter(([, value]) => value !== ''))

const positive = (text: string): number | null => (/^[1-9]\d{0,14}$/.test(text) ? Number(text) : null)

export const auditRoutes = (node: Node) => {
  const { reads, limits } = node
  const verification = () => node.verification && verificationJson(node.verification)

  /** What came since the reader's page was made, up to the row that was the last one then. */
  const newsOf = async (filter: AuditFilter, seen: number): Promise<AuditNews> => {
    const newMax = limits.rowsShownMax
    const isNews = reads.auditHead().sequence > seen
    const found = isNews ? await reads.audit({ ...filter, limit: newMax + 1, after: seen, order: 'asc' }) : []
    return { verification: verification(), newRows: found.length, newMax }
  }

  return new Elysia({ name: 'audit-pages' })
    .get('/audit', async ({ request }) => {
      const { actor } = personOf(request)
      const query = new URL(request.url).searchParams
      const short = withoutEmpty(query)
      if (short.size < query.size) return seeOther(short.size === 0 ? '/audit' : `/audit?${short}`)
      const { filter, card } = auditFilterOf(node, query)
      const frame = frameOf(node, request)
      const seen = positive(query.get('seen') ?? '')
      if (seen !== null && isScript(request))
        return partial(<AuditLive frame={frame} news={await newsOf(filter, seen)} filter={card} />)

      const isRefused = Object.keys(card.failures).length > 0
      const after = numberAfter(query.get('after'))
      const { sequence: head } = reads.auditHead()
      const elsewhere = elsewhereIn(node, request)
      const rows = isRefused
        ? []
        : await reads.audit({ ...filter, limit: limits.rowsShownMax + 1, after, order: 'desc' })
      const shown = rows.slice(0, limits.rowsShownMax)
      const last = shown.at(-1)
      // Where the time has an end, nothing new comes; other pages show what was.
      const isLive = after === null && filter.until === undefined && !isRefused
      const path = auditUrl({ ...card.typed, seen: String(head) })
      return page(
        <AuditPage
          frame={frame}
          events={shown.map((row) => auditCard(node, row, elsewhere))}
          next={rows.length > shown.length && last ? String(last.sequence) : null}
          filter={card}
          live={
            isLive
              ? {
                  frame: { ...frame, path },
                  news: { verification: verification(), newRows: 0, newMax: limits.rowsShownMax },
                }
              : null
          }
          verification={verification()}
          mayVerify={!actor.restricted}
        />,
        isRefused ? 400 : 200,
      )
    })
    .post(
      '/audit/verification',
      async ({ request }) => {
        requireRole(personOf(request).actor, 'auditor')
        await node.verify(null)
        return seeOther(`/audit${new URL(request.url).search}`)
      },
      FORM,
    )
    .get('/audit/:sequence', ({ request, params }) => {
      personOf(request)
      const sequence = positive(params.sequence)
      const row = sequence === null ? null : reads.auditRow(sequence)
      if (!row) throw notFound('the audit log has no such row')
      return page(
        <AuditRowPage
          frame={frameOf(node, request)}
          row={{
            ...auditJson(row),
            ...auditCard(node, row, elsewhereIn(node, request)),
            at: row.at,
            hashed: hashedText(row),
            hasNext: row.sequence < reads.auditHead().sequence,
            around: { since: formatTime(row.at - AROUND_MS), until: formatTime(row.at + AROUND_MS) },
          }}
        />,
      )
    })
}
