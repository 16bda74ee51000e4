import type { Database } from 'bun:sqlite'
import type { FactId } from '../../fact.ts'

const UNKNOWN = 'kind:'
const NONE: readonly FactId[] = []

/** Facts that wait for what they are about, or for a program that knows them: on disk, and by target in memory. */
export class Parked {
  readonly #byTarget = new Map<string, FactId[]>()
  readonly #all
  readonly #insert
  readonly #delete
  #unknown: readonly FactId[] | null = null

  constructor(client: Database) {
    this.#all = client.query<FactId & { target: string }, []>(
      'SELECT * FROM parked ORDER BY target, origin, stream, seq',
    )
    this.#insert = client.query<never, [string, string, string, number]>(
      'INSERT OR IGNORE INTO parked (target, origin, stream, seq) VALUES (?, ?, ?, ?)',
    )
    this.#delete = client.query<never, [string]>('DELETE FROM parked WHERE target = ?')
    this.load()
  }

  /** Also after a transaction was undone. */
  load(): void {
    this.#byTarget.clear()
    this.#unknown = null
    for (const { target, ...id } of this.#all.all()) this.#put(target, id)
  }

  has(target: string): boolean {
    return this.#byTarget.has(target)
  }

  /** Those of the revocation stream whose kind is unknown. */
  get unknown(): readonly FactId[] {
    return (this.#unknown ??= [...this.#byTarget]
      .filter(([target]) => target.startsWith(UNKNOWN))
      .flatMap(([, ids]) => ids.filter(({ stream }) => stream === 'revocation')))
  }

  add(target: string, { origin, stream, seq }: FactId): void {
    if (this.#insert.run(target, origin, stream, seq).changes > 0) this.#put(target, { origin, stream, seq })
  }

  #put(target: string, id: FactId): void {
    const ids = this.#byTarget.get(target)
    if (ids) ids.push(id)
    else this.#byTarget.set(target, [id])
    if (target.startsWith(UNKNOWN)) this.#unknown = null
  }

  /** What waited for it, which waits no longer. */
  take(target: string): readonly FactId[] {
    // Nearly always: of a hundred thousand names none is looked for.
    if (this.#byTarget.size === 0) return NONE
    const ids = this.#byTarget.get(target)
    if (!ids) return NONE
    this.#byTarget.delete(target)
    this.#delete.run(target)
    if (target.startsWith(UNKNOWN)) this.#unknown = null
    return ids
  }
}
