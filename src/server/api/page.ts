import { invalid } from '../../error.ts'
import { limits } from '../../limits.ts'

export interface PageRequest {
  limit: number
  after: string | null
}

/** `?limit=&after=` as numbers and cursors. Throws `invalid`. */
export const pageRequest = (query: { limit?: string; after?: string }): PageRequest => {
  const limit = query.limit === undefined ? limits.pageSizeDefault : Number(query.limit)
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.pageSizeMax) {
    throw invalid(`limit: write a whole number from 1 to ${limits.pageSizeMax}`)
  }
  return { limit, after: query.after ?? null }
}

/** A cursor that is a whole number: the sequence of a row, the place in a list. Throws `invalid`. */
export const numberAfter = (after: string | null): number | null => {
  if (after === null) return null
  if (!/^\d{1,15}$/.test(after)) throw invalid("after: write the last page's `next`")
  return Number(after)
}

/** A page of what is already in order; `cursorOf` names the last one for the next page. */
export const pageOf = <T, J>(found: T[], limit: number, cursorOf: (item: T) => string, present: (item: T) => J) => {
  const items = found.slice(0, limit)
  const last = items.at(-1)
  return { items: items.map(present), next: found.length > limit && last !== undefined ? cursorOf(last) : null }
}

/** Everything behind the cursor, and one more than the page holds, to know whether there is a next. */
export const behind = <T>(sorted: Iterable<T>, { limit, after }: PageRequest, cursorOf: (item: T) => string): T[] => {
  const found: T[] = []
  for (const item of sorted) {
    if (after !== null && cursorOf(item) <= after) continue
    found.push(item)
    if (found.length > limit) break
  }
  return found
}
