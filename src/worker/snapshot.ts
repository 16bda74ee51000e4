import { Database } from 'bun:sqlite'
import { messageOf } from '../error.ts'

/** Runs in a Worker: copies a live database, whole and consistent, off the node's event loop. */

export interface SnapshotRequest {
  file: string
  to: string
}

export type SnapshotAnswer = { ok: true } | { ok: false; error: string }

declare const self: Worker

if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<SnapshotRequest>) => {
    let answer: SnapshotAnswer = { ok: true }
    try {
      const client = new Database(data.file, { readonly: true })
      client.query('VACUUM INTO ?').run(data.to)
      client.close()
    } catch (error) {
      answer = { ok: false, error: messageOf(error) }
    }
    postMessage(answer)
  }
}
