import { join } from 'node:path'
import { ProblemError } from '../../../src/gate/problem.ts'
import { type Lease, Supervisor } from '../../../src/gate/stdio/supervisor.ts'
import type { Caller } from '../../../src/gate/upstream.ts'
import { KeyRing, newRingKey } from '../../../src/key.ts'
import { type Limits, limits } from '../../../src/limits.ts'
import { Registry } from '../../../src/registry.ts'
import { generateSecret } from '../../../src/secret.ts'
import { STDIO_URL, type StdioRequest, type StdioSpec, stdioSpec } from '../../../src/stdio.ts'
import { TokenIndex } from '../../../src/token-index.ts'
import { type Upstream, UpstreamIndex } from '../../../src/upstream.ts'
import { serverAt } from '../../support/server.ts'
import { removeFolder, tempFolder } from '../../support/temp.ts'

const RAW = join(import.meta.dir, '../../support/upstreams/stdio/raw.ts')

/** A bad program of the test's: see its top. */
export const raw = (...args: string[]): string[] => [process.execPath, RAW, ...args]

/** Says back each line, and starts at once. */
export const ECHO = ['cat']

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** What a start was refused with. */
export const refusalOf = async (start: Promise<Lease>) => {
  try {
    await start
  } catch (error) {
    if (error instanceof ProblemError) return error.problem
    throw error
  }
  throw new Error('it was started')
}

/** The real supervisor with limits that a test reaches in no time. */
export const startSupervisor = (small: Partial<Limits> = {}) => {
  const own = { ...limits, stdioTickMs: 10, stdioGraceMs: 300, stdioEvictIdleMs: 30, ...small }
  const folder = tempFolder()
  const servers = new UpstreamIndex()
  const registry = new Registry(own, Date.now)
  const keys = new KeyRing({ database: 'db', keys: [newRingKey(0)] })
  const tokens = new TokenIndex()
  const closed: string[] = []
  const turned: (string | null)[] = []
  const logged: { details: Record<string, unknown>; message: string }[] = []
  const note = (details: Record<string, unknown>, message: string) => void logged.push({ details, message })
  const supervisor = new Supervisor({
    launch: { dataFolder: folder, env: process.env },
    find: (id) => servers.byId.get(id),
    registry,
    limits: own,
    now: Date.now,
    close(server, reason) {
      closed.push(reason)
      Object.assign(server, { state: 'closed', reason })
      registry.cut(registry.ofServer(server.id), 'server_closed')
    },
    onTurned: (server) => void turned.push(supervisor.statusOf(server).problem),
    log: { info: note, warn: note },
  })
  const specOf = (command: string[], request: Partial<StdioRequest> = {}): StdioSpec =>
    stdioSpec({ command, ...request }, 'n1')
  return {
    supervisor,
    registry,
    closed,
    turned,
    logged,
    specOf,
    add(name: string, command: string[], request: Partial<StdioRequest> & { exactIdleMs?: number } = {}): Upstream {
      const { exactIdleMs, ...rest } = request
      const spec = specOf(command, rest)
      const stdio = exactIdleMs === undefined ? spec : { ...spec, idleMs: exactIdleMs }
      const server = serverAt(STDIO_URL, { id: `srv_${name}`, name, kind: 'stdio', stdio })
      servers.add(server)
      return server
    },
    remove: (server: Upstream) => servers.remove(server, Date.now()),
    caller(name: string, diesAt: (number | null)[] = [null]): Caller & { token: Caller['secret']['token'] } {
      const token = tokens.add({
        id: `tok_${name}`,
        name,
        subject: null,
        group: null,
        servers: new Set(servers.byId.keys()),
        createdAt: 0,
        createdBy: 'test',
        expiresAt: null,
        revokedAt: null,
        revocationId: null,
        policy: null,
        secrets: diesAt.map((at) => ({ ...keys.digest(generateSecret('pcl_')), createdAt: 0, diesAt: at })),
      })
      const [secret] = token.secrets
      if (!secret) throw new Error('no secret')
      return { secret, token, address: '127.0.0.1', client: 'test' }
    },
    [Symbol.asyncDispose]: async () => {
      await supervisor.stop(own.stdioGraceMs)
      registry.stop()
      removeFolder(folder)
    },
  }
}
