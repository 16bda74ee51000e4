/** What a restore kept of the database that was in place, and what it could not. */
export interface Merged {
  /** Dead since the backup was made, and so they stay. */
  tokens: number
  secrets: number
  servers: number
  apiKeys: number
  operators: number
  /** Servers that were closed since, and stay closed. */
  closed: number
  /** Facts of the cluster that the backup did not have: kept, and applied by the next start. */
  facts: number
  /** Names of live tokens that the backup does not know: they are gone. */
  gone: string[]
}

/** What a restore did. */
export interface Restored {
  /** When the backup was made, RFC 3339. */
  at: string
  folder: string
  /** Null: there was no database in place. */
  merged: Merged | null
  /** Where the database that was in place is now. */
  replaced: string | null
  /** What became of the backup's settings. */
  settings: 'restored' | 'kept' | 'none'
  /**
   * The members of its cluster, as far as this folder knows them; `retired`: what it was runs nowhere any more. Null: it is
   * of none.
   */
  cluster: { members: string[]; retired: boolean } | null
}
