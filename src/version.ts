import packageJson from '../package.json' with { type: 'json' }

/** Which portcullis this is. */
export interface Version {
  version: string
  /** Of the sources that it was built from, with `-dirty` behind it when they had changes; null: not known. */
  commit: string | null
  /** When that commit was made, RFC 3339 UTC: two builds of one commit are the same bytes. */
  date: string | null
}

declare const BUILD_COMMIT: string | null
declare const BUILD_DATE: string | null

// Only a build defines these two (src/release/executable.ts); from the sources there is nothing to tell.
export const version: Version = {
  version: packageJson.version,
  commit: typeof BUILD_COMMIT === 'undefined' ? null : BUILD_COMMIT,
  date: typeof BUILD_DATE === 'undefined' ? null : BUILD_DATE,
}

/** `portcullis 0.7.0 (da82f15, 2026-11-21)` */
export const versionLine = ({ version: number, commit, date }: Version): string => {
  const build = [commit?.replace(/^([0-9a-f]{7})[0-9a-f]+/, '$1'), date?.slice(0, 10)].filter(Boolean)
  return build.length > 0 ? `portcullis ${number} (${build.join(', ')})` : `portcullis ${number}`
}
