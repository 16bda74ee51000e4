/** What stands in the main part of a page, as it is read: no tags, one space between words. */
export const textOf = (html: string): string =>
  (/<main[^>]*>(.*)<\/main>/s.exec(html)?.[1] ?? html)
    .replaceAll(/<\/?(?:bdi|strong)[^>]*>/g, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll('&#39;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
    .replaceAll(/\s+/g, ' ')
    .trim()

/** Values of the fields of a form, by name, as a browser would send them; the last of each name. */
export const fieldsOf = (html: string): Record<string, string> =>
  Object.fromEntries(
    [...html.matchAll(/<input[^>]*>/g)].flatMap(([tag]) => {
      const name = / name="([^"]*)"/.exec(tag)?.[1]
      return name && !/ type="(?:checkbox|radio)"/.test(tag) ? [[name, / value="([^"]*)"/.exec(tag)?.[1] ?? '']] : []
    }),
  )
