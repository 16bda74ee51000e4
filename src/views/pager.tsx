/** @jsxImportSource hono/jsx */
type PagerProps = {
  /** Path and query of the page that is shown. */
  path: string
  /** The key of the last row, when there are more; null: this is the last page. */
  next: string | null
  /** What the rows are, in the plural. */
  of: string
}

/** Pages by key: the first one, and the next. A row that comes or goes moves no other to another page. */
export const Pager = ({ path, next, of }: PagerProps) => {
  const [pathname = '', query = ''] = path.split('?')
  const fields = new URLSearchParams(query)
  const isFirst = !fields.has('after')
  if (isFirst && next === null) return null
  const at = (after: string | null): string => {
    fields.delete('after')
    if (after !== null) fields.set('after', after)
    return fields.size === 0 ? pathname : `${pathname}?${fields}`
  }
  return (
    <nav class="pager" aria-label={`More ${of}`}>
      {!isFirst && (
        <a class="button" href={at(null)} rel="first">
          First page
        </a>
      )}
      {next !== null && (
        <a class="button" href={at(next)} rel="next">
          Next page
        </a>
      )}
    </nav>
  )
}
