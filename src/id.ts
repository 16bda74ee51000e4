/** A new opaque id that sorts by its time of making, so that it serves as a page's cursor too. */
export const newId = (kind: 'tok' | 'srv' | 'rev' | 'key' | 'op' | 'node' | 'db' | 'req' | 'ses'): string =>
  `${kind}_${Bun.randomUUIDv7('hex').replaceAll('-', '')}`
