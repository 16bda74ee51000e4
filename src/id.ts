/** The latest time that an id was made of. */
let latestMs = 0

/** A new opaque id that sorts by its making, so that it serves as a page's cursor too: also when the clock is set back. */
export const newId = (kind: 'tok' | 'srv' | 'rev' | 'key' | 'op' | 'node' | 'db' | 'cls' | 'req' | 'ses'): string => {
  latestMs = Math.max(latestMs, Date.now())
  return `${kind}_${Bun.randomUUIDv7('hex', latestMs).replaceAll('-', '')}`
}

/** Ids that are made from now on sort behind this one, of a start before. */
export const idsFollow = (id: string): void => {
  // RFC 9562, 5.7: a UUIDv7 begins with 48 bits of milliseconds.
  if (isId(id)) latestMs = Math.max(latestMs, Number.parseInt(id.slice(id.indexOf('_') + 1).slice(0, 12), 16) + 1)
}

/** Whether a text has the shape of an id of ours: nobody means a part of a name by it. */
export const isId = (text: string): boolean => /^[a-z]{2,4}_[0-9a-f]{32}$/.test(text)
