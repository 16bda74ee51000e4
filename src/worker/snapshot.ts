import { Database } from 'bun:sqlite'
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import { messageOf } from '../error.ts'

/** Runs in a Worker: copies a live database, whole and consistent, off the node's event loop. */

export interface SnapshotRequest {
  file: string
  to: string
}

export type SnapshotAnswer = { ok: true; bytes: number; sha256: string } | { ok: false; error: string }

const SLICE_BYTES = 1024 * 1024

/** The size and the SHA-256 of a file, hexadecimal. */
export const digestOf = (file: string): { bytes: number; sha256: string } => {
  const hasher = new Bun.CryptoHasher('sha256')
  const slice = new Uint8Array(SLICE_BYTES)
  const fd = openSync(file, 'r')
  try {
    let bytes = 0
    for (;;) {
      const read = readSync(fd, slice, 0, slice.length, bytes)
      if (read === 0) return { bytes, sha256: hasher.digest('hex') }
      hasher.update(slice.subarray(0, read))
      bytes += read
    }
  } finally {
    closeSync(fd)
  }
}

const copy = ({ file, to }: SnapshotRequest): void => {
  // For its owner alone, from the first byte on.
  writeFileSync(to, '', { mode: 0o600 })
  const client = new Database(file, { readonly: true })
  try {
    // The copy lives for a moment. To sync hundreds of megabytes would let a revocation's own sync wait behind them.
    client.run('PRAGMA synchronous = OFF')
    client.query('VACUUM INTO ?').run(to)
  } finally {
    client.close()
  }
}

declare const self: Worker

if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<SnapshotRequest>) => {
    let answer: SnapshotAnswer
    try {
      copy(data)
      answer = { ok: true, ...digestOf(data.to) }
    } catch (error) {
      answer = { ok: false, error: messageOf(error) }
    }
    postMessage(answer)
  }
}
