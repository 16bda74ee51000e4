import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConnectionJson } from '../../src/server/api/schemas.ts'
import { type NodeOptions, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawRequest } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'
import { NAMES } from './network.ts'

const ROOT = join(import.meta.dir, '../..')
export const [GATE, CONSOLE] = NAMES.map((name) => `https://${name}`) as [string, string]
/** The gate itself, without the proxy. */
export const DIRECT = 'http://127.0.0.1:7070'
const BOUND = ['--listen', '127.0.0.1:7070', '--console', '127.0.0.1:7071']
const FLAGS = [...BOUND, '--public-url', GATE, '--console-url', CONSOLE]

/** A proxy as Debian has it, with the configuration of the documents where it belongs. */
export interface Proxy {
  name: string
  /** The file in docs/proxy, and where it goes; nothing in it is changed. */
  config: [from: string, to: string]
  /** Shell that is run first: what the documents tell to do besides. */
  before?: string
  /** What runs it, in the foreground. */
  command: string[]
  env?: Record<string, string>
  /** It ends an answer that broke off as if it were whole. */
  hidesResets?: boolean
  /** It keeps an answer back until all of the request has come. */
  answersLate?: boolean
}

/** What the proxy wrote anywhere: its output, and everything below /var/log. */
const OUTPUT = '/var/log/output-of-proxy'
export const logsOf = async (): Promise<string> => (await Bun.$`cat $(find /var/log -type f)`.quiet()).text()

const startProxy = async ({ name, config: [from, to], before, command, env }: Proxy) => {
  if (before) await Bun.$`sh -ec ${before}`.quiet()
  await Bun.$`cp ${join(ROOT, 'docs/proxy', from)} ${to}`
  const child = Bun.spawn(command, {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  for (const stream of [child.stdout, child.stderr]) {
    const keep = async () => {
      for await (const chunk of stream) appendFileSync(OUTPUT, chunk)
    }
    keep().catch((error: unknown) => appendFileSync(OUTPUT, String(error)))
  }
  await eventually(() => fetch(`${GATE}/`), { timeoutMs: 10_000, everyMs: 20, what: `${name} listens` }).catch(
    async (error: unknown) => {
      child.kill('SIGKILL')
      throw new Error(`${String(error)}\n${await logsOf()}`)
    },
  )
  // What it leaves behind ends with the network that it is in.
  return { stop: () => child.kill('SIGKILL') }
}

/** Servers of every kind, a node in front of them, and a proxy in front of that. */
export const startScene = async (proxy: Proxy, handlers: Record<string, (it: RawUpstreamRequest) => void>) => {
  const data = tempFolder()
  const raw = await startRaw((it) => {
    const handler = handlers[it.head.get('x-kind') ?? '']
    if (handler) handler(it)
    else it.answer('200 OK', ['Content-Type: application/json'], '{}')
  })
  const sessions = await startSessionMcp()
  const stateless = await startStatelessMcp()
  const everything = await startEverything('sse')
  const start = (options: NodeOptions) => startNode({ data, ...options, args: [...FLAGS, ...(options.args ?? [])] })
  let node = await start({ args: ['--trusted-proxy', '127.0.0.1'] })
  await node.addServer('raw', raw.url)
  await node.addServer('sessions', sessions.url)
  await node.addServer('stateless', stateless.url)
  await node.addServer('everything-sse', everything.url)
  await node.addServer('only-sse', everything.url + everything.path)
  const front = await startProxy(proxy)
  /** Every secret that was issued: none may be in a log. */
  const secrets: string[] = []
  return {
    raw,
    secrets,
    get node() {
      return node
    },
    /** Starts the node again, on the same folder. */
    restart: async (how: NodeJS.Signals, args: string[] = []) => {
      node.kill(how)
      await node.exited
      node = await start({ args })
    },
    createToken: async (name: string, servers = ['raw']) => {
      const token = await node.createToken(name, servers)
      secrets.push(token.token)
      return token
    },
    /** Sends a request to the raw server and finds it there. */
    open: async (secret: string, kind: string, request: Partial<RawRequest> = {}, url = GATE) => {
      const mark = crypto.randomUUID()
      const headers = {
        ...bearer(secret),
        ...(request.headers as Record<string, string>),
        'X-Kind': kind,
        'X-Mark': mark,
      }
      const client = await open(url, { target: '/s/raw/x', ...request, headers })
      const upstream = await eventually(() => raw.requests.find((it) => it.head.get('x-mark') === mark), {
        what: `${kind} reaches the server: ${client.received}`,
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${client.received}`)
      })
      return { client, upstream }
    },
    connectionsOf: async (id: string): Promise<ConnectionJson[]> => {
      const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')
      return json.items.filter(({ token }) => token.id === id)
    },
    stopNode: () => node.stop(),
    stop: async () => {
      front.stop()
      await node.stop()
      raw.stop()
      await Promise.all([sessions.stop(), stateless.stop(), everything.stop()])
      removeFolder(data)
    },
  }
}
export type Scene = Awaited<ReturnType<typeof startScene>>
