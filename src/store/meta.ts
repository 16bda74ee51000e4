import type { Database } from 'bun:sqlite'

/** What a database says of itself: a text by key. Writes are within the caller's transaction, if there is one. */
export const metaOf = (client: Database) => ({
  get: (key: string): string | null =>
    client.query<{ value: string }, [string]>('SELECT value FROM meta WHERE key = ?').get(key)?.value ?? null,
  set: (key: string, value: string): void =>
    void client.query('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)').run(key, value),
  remove: (key: string): void => void client.query('DELETE FROM meta WHERE key = ?').run(key),
})
