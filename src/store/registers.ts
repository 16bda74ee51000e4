import type { Database } from 'bun:sqlite'

/** Above any stamp: what was removed stays so, whoever writes it later. */
const ENDED = '~'

/** Who wrote what last, where the last writer wins: by `stampOf`. Written within the transaction of the change. */
export class Registers {
  readonly #get
  readonly #put

  constructor(client: Database) {
    this.#get = client.query<{ stamp: string }, [string]>('SELECT stamp FROM registers WHERE key = ?')
    this.#put = client.query(
      `INSERT INTO registers (key, stamp) VALUES (?, ?)
       ON CONFLICT (key) DO UPDATE SET stamp = excluded.stamp WHERE excluded.stamp > registers.stamp`,
    )
  }

  stamp(key: string): string | null {
    return this.#get.get(key)?.stamp ?? null
  }

  /** Takes the register when the stamp is newer than the last. Returns whether it was. */
  take(key: string, stamp: string): boolean {
    return this.#put.run(key, stamp).changes > 0
  }

  /** Nobody takes it any more. */
  end(key: string): void {
    this.#put.run(key, ENDED)
  }

  hasEnded(key: string): boolean {
    return this.stamp(key) === ENDED
  }
}
