import { join } from 'node:path'
import type { StdioRequest } from '../../src/stdio.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { initialize } from '../support/initialize.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'
import { setupLinkOf, Visitor } from './visitor.ts'

/** Who may come in, and a key of the ring that is still in use. */
interface People {
  person: string
  apiKey: string
  oldKey: string
}

/** A node with something on every page: servers, live streams, dead tokens that are still tried, people. */
export interface World {
  node: TestNode
  /** Signed in as the owner. */
  owner: Visitor
  /** Ids by what they are. */
  ids: { busy: string; quiet: string; rotated: string; dead: string; revocation: string; several: string } & People
  [Symbol.asyncDispose](): Promise<void>
}

const SUBJECTS = ['ada@example.com', 'grace@example.com', 'ci@example.com']

const MCP = join(import.meta.dir, '../support/upstreams/stdio/mcp.ts')
const MISSPELT = "npm ERR! 404 '@example/server-weathr' is not in this registry, or you may not read it."

/** Two servers that are commands: one with a process at work, one that exits at once. */
const addCommands = async (node: TestNode) => {
  const add = (name: string, stdio: StdioRequest) => node.api('POST', '/servers', { name, probe: false, stdio })
  await add('project-files', {
    command: [process.execPath, MCP, 'stderr=Secure MCP Filesystem Server running on stdio', '/srv/a project'],
    env: { API_KEY: 'of-the-server', ROOT: '/srv' },
    cpuTimeMs: 3_600_000,
  })
  await add('weather', {
    command: ['/bin/sh', '-c', 'for n in 1 2 3 4 5 6; do echo "$0" >&2; done; exit 1', MISSPELT],
    shared: true,
    user: null,
  })
  const { token } = await node.createToken('Zed', ['project-files', 'weather'], { subject: 'linus@example.com' })
  const [files, weather] = await Promise.all(
    ['project-files', 'weather'].map((name) => initialize(`${node.gate}/s/${name}`, token)),
  )
  if (files?.status !== 200 || weather?.status !== 502)
    throw new Error('the commands of the world do not run as they should')
}

export const startWorld = async (): Promise<World> => {
  const events = await startEvents({ intervalMs: 200, burst: 3 })
  const node = await startNode()
  const streams: RawClient[] = []
  const owner = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await node.addServer('github', events.url)
  await node.addServer('filesystem', events.url, { kind: 'http', headers: { Authorization: 'Bearer of-the-upstream' } })
  await node.addServer('nowhere', 'http://127.0.0.1:9')
  await node.api('PUT', '/servers/filesystem/gate', { state: 'closed', reason: 'being moved' })

  const connect = async (secret: string, client: string) => {
    const stream = await open(node.gate, {
      target: '/s/github/sse',
      headers: { ...bearer(secret), 'user-agent': client },
    })
    streams.push(await stream.until(({ text }) => text.includes('data:')))
  }
  const busy = await node.createToken('Cursor IDE', ['github', 'filesystem'], { subject: SUBJECTS[0], expires: '30d' })
  for (const client of ['Cursor/1.9', 'Cursor/1.9', 'claude-code/2.1']) await connect(busy.token, client)
  const quiet = await node.createToken('Claude Code on the laptop', ['github'], { subject: SUBJECTS[1], group: 'core' })
  await connect(quiet.token, 'claude-code/2.1')
  const rotated = await node.createToken('nightly report', ['github'], { subject: SUBJECTS[2], group: 'automation' })
  await node.api('POST', `/tokens/${rotated.id}/rotations`, { graceSeconds: 600 })
  const dead = await node.createToken('contractor VS Code', ['github'], { subject: 'mallory@example.com' })
  await connect(dead.token, 'Visual Studio Code/1.120')
  await connect(dead.token, 'Visual Studio Code/1.120')
  const { id: revocation } = await node.revoke({
    tokens: [dead.id],
    reason: 'compromised',
    note: 'in a public repository',
  })
  for (const name of ['build runner', 'review bot', 'staging agent']) {
    const { token } = await node.createToken(name, ['github'], { subject: SUBJECTS[2], group: 'contractors-phoenix' })
    await connect(token, 'python-httpx/0.28')
  }
  const { id: several } = await node.revoke({ group: 'contractors-phoenix', reason: 'offboarding' })
  for (let tries = 0; tries < 4; tries += 1) await fetch(`${node.gate}/s/github/x`, { headers: bearer(dead.token) })
  const idOf = async (path: string, body: unknown) => (await node.api<{ id: string }>('POST', path, body)).json.id
  const apiKey = await idOf('/apikeys', { name: 'deploy pipeline', role: 'operator', expires: '90d' })
  const person = await idOf('/operators', { name: 'grace', role: 'auditor' })
  const { json: ring } = await node.api<{ items: { id: string }[] }>('GET', '/keys')
  const oldKey = ring.items[0]?.id ?? ''
  await node.api('POST', '/keys', {})
  const notes = await startSessionMcp()
  await node.api('POST', '/servers', { name: 'notes', url: notes.url })
  await node.api('POST', '/servers/github/probes')
  await addCommands(node)

  return {
    node,
    owner,
    ids: {
      busy: busy.id,
      quiet: quiet.id,
      rotated: rotated.id,
      dead: dead.id,
      revocation,
      several,
      person,
      apiKey,
      oldKey,
    },
    [Symbol.asyncDispose]: async () => {
      for (const stream of streams) stream[Symbol.dispose]()
      await node.stop()
      await notes.stop()
      events.stop()
    },
  }
}
