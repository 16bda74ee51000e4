import type { Database } from 'bun:sqlite'
import { isSameSeen, type Seen, seenText } from '../fact.ts'
import { hasTable } from './migrate.ts'

/** What issuers of tokens knew, each once: a token holds the number of it. */
export class SeenStore {
  /** Those of long ago are found on the disk: tokens that are made know what is known now. */
  #last: { seen: Seen; id: number } | null = null
  readonly #find
  readonly #insert

  constructor(readonly client: Database) {
    this.#find = client.query<{ id: number }, [string]>('SELECT id FROM seen WHERE vector = ?')
    this.#insert = client.query<{ id: number }, [string]>('INSERT INTO seen (vector) VALUES (?) RETURNING id')
  }

  /** Within the transaction that writes the token. */
  idOf(seen: Seen | null): number | null {
    if (seen === null) return null
    if (this.#last && isSameSeen(this.#last.seen, seen)) return this.#last.id
    const text = seenText(seen)
    const { id } = this.#find.get(text) ?? (this.#insert.get(text) as { id: number })
    this.#last = { seen, id }
    return id
  }

  /** After a transaction was undone: a number that it gave is none. */
  forget(): void {
    this.#last = null
  }

  /** All of them by number; none where a database is left at the schema of an older version. */
  static all(client: Database): Map<number, Seen> {
    if (!hasTable(client, 'seen')) return new Map()
    const rows = client.query<{ id: number; vector: string }, []>('SELECT id, vector FROM seen').all()
    return new Map(rows.map(({ id, vector }) => [id, JSON.parse(vector) as Seen]))
  }
}
