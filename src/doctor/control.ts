import { accessSync, constants } from 'node:fs'
import { messageOf } from '../error.ts'
import type { ClusterJson, NodeJson, OperatorJson, ServerJson } from '../server/api/schemas.ts'
import { seen } from './path.ts'

/** A node of an earlier version says less of itself. */
export type RunningNode = Pick<NodeJson, 'version' | 'node' | 'gateUrl' | 'consoleUrl' | 'ready' | 'problems'> &
  Partial<NodeJson>

/** How the control socket was found: a node behind it answered, or why none did. */
export type Socket = { kind: 'absent' | 'left' | 'denied' | 'silent' } | { kind: 'answered'; node: RunningNode }

export interface Said {
  servers: ServerJson[]
  operators: OperatorJson[]
}

const ask = async <T>(socket: string, path: string, timeoutMs: number): Promise<T> => {
  const response = await fetch(`http://localhost/api/v1${path}`, {
    unix: socket,
    headers: { 'x-portcullis-actor': `local:${process.getuid?.() ?? 'unknown'}` },
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!response.ok) throw new Error(`${path} answered ${response.status}`)
  return (await response.json()) as T
}

/** What a node says of its servers and operators; null: it does not say. */
export const listen = async (socket: string, timeoutMs: number): Promise<Said | null> => {
  try {
    const [servers, operators] = await Promise.all([
      ask<{ items: ServerJson[] }>(socket, '/servers?limit=1000', timeoutMs),
      ask<{ items: OperatorJson[] }>(socket, '/operators?limit=1000', timeoutMs),
    ])
    return { servers: servers.items, operators: operators.items }
  } catch {
    // A node that stops right now, or is of another version: the database tells the same.
    return null
  }
}

/** What a node says of its cluster; null: it does not say. */
export const clusterOf = async (socket: string, timeoutMs: number): Promise<ClusterJson | null> => {
  try {
    return await ask<ClusterJson>(socket, '/cluster', timeoutMs)
  } catch {
    // One that stops right now, or of a version that knew of no cluster.
    return null
  }
}

/** Asks whoever is behind the control socket, if anybody is. */
export const knock = async (path: string, timeoutMs: number): Promise<Socket> => {
  const at = seen(path)
  if (at === 'absent') return { kind: 'absent' }
  if (at === 'hidden') return { kind: 'denied' }
  if (!at.isSocket()) return { kind: 'absent' }
  try {
    accessSync(path, constants.W_OK)
  } catch {
    return { kind: 'denied' }
  }
  try {
    const node = await ask<RunningNode>(path, '/node', timeoutMs)
    return typeof node.version === 'string' ? { kind: 'answered', node } : { kind: 'silent' }
  } catch (error) {
    // Nobody listens: the file is what a killed node left.
    return { kind: /ECONNREFUSED|ENOENT/.test(messageOf(error)) ? 'left' : 'silent' }
  }
}
