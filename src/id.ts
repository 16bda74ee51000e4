/** A new opaque id that sorts by its time of making, so that it serves as a page's cursor too. */
export const newId = (kind: 'tok' | 'srv' | 'rev' | 'key' | 'op' | 'node' | 'db' | 'req' | 'ses'): string =>
  `${kind}_${Bun.randomUUIDv7('hex').replaceAll('-', '')}`

/** Whether a text has the shape of an id of ours: nobody means a part of a name by it. */
export const isId = (text: string): boolean => /^[a-z]{2,4}_[0-9a-f]{32}$/.test(text)
