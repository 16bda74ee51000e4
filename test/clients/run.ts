import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { SnippetJson, TokenJson } from '../../src/server/api/schemas.ts'
import { findNode } from '../support/find-node.ts'
import { startNode } from '../support/node.ts'
import { tempFolder } from '../support/temp.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import { REAL_CLIENTS, type RealClient, type Stage } from './real.ts'
import { runInShell } from './shell.ts'
import { type Spoken, spokenTo, startWire } from './wire.ts'

/**
 * Real clients from npm, each in an empty home, fed the snippet of a new token: they must list the tools of
 * its servers through the gate, and nothing of theirs may come through once the token is revoked.
 * Names of clients as arguments choose among them. Needs npm; what it installs is kept for the next time.
 */

const INSTALLED = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'portcullis-clients')
const INSTALL_MS = 300_000
const CLIENT_MS = 60_000

const install = async ({ id, package: name, version }: RealClient): Promise<string> => {
  const folder = join(INSTALLED, `${id}-${version}`)
  const bin = join(folder, 'node_modules/.bin')
  if (existsSync(bin)) return bin
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(join(folder, 'package.json'), '{"private": true}')
  const text = `npm install --no-audit --no-fund --loglevel=error ${name}@${version}`
  const { code, stderr } = await runInShell(text, { env: process.env, cwd: folder, timeoutMs: INSTALL_MS })
  if (code !== 0) throw new Error(`${text}: ${stderr}`)
  return bin
}

/** Does with a snippet what its `kind` and `file` say; gives what a command printed. */
const paste = async ({ kind, file, text }: SnippetJson, env: Record<string, string> & { HOME: string }) => {
  if (kind === 'command') return runInShell(text, { env, cwd: env.HOME, timeoutMs: CLIENT_MS })
  const path = join(env.HOME, (file ?? '').replace(/^~\//, ''))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return { code: 0, stdout: '', stderr: '' }
}

const sessions = await startSessionMcp()
const stateless = await startStatelessMcp()
/** In the order of arrival, whatever the server. */
const spoken: Spoken[] = []
const wires = [startWire('sessions', sessions.url, spoken), startWire('stateless', stateless.url, spoken)]
const model = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: () => Response.json({ error: { message: 'no model here', code: 400 } }, { status: 400 }),
})
const node = await startNode()
await node.addServer('sessions', wires[0]?.url ?? '', { kind: 'mcp', path: '/mcp' })
await node.addServer('stateless', wires[1]?.url ?? '', { kind: 'mcp', path: '/mcp' })
/** What `command.ts` heard, from all its processes; all clients reach it. */
const heard = join(tempFolder(), 'heard')
writeFileSync(heard, '')
await node.addCommand('command', [process.execPath, join(import.meta.dir, 'command.ts'), heard], { path: '/mcp' })
const heardSince = (line: number) => spokenTo('command', readFileSync(heard, 'utf8'), line)

interface Outcome {
  client: string
  spoken: Spoken[]
  problems: string[]
}

const tokenNow = async (id: string) => (await node.api<TokenJson>('GET', `/tokens/${id}`)).json

const tryOut = async (client: RealClient): Promise<Outcome> => {
  const { id, version } = client
  const outcome: Outcome = { client: `${id} ${version}`, spoken: [], problems: [] }
  const bin = await install(client)
  const stage: Stage = { home: tempFolder(), model: `http://127.0.0.1:${model.port}` }
  const PATH = [bin, dirname(findNode()), '/usr/bin', '/bin'].join(':')
  const env = { PATH, HOME: stage.home, TERM: 'dumb', NO_COLOR: '1', ...client.env?.(stage) }

  const servers = [...client.speaks, 'command']
  const issued = await node.createToken(`${id} for real`, servers)
  const snippet = issued.connect?.[id]
  if (!snippet) return { ...outcome, problems: ['it has no snippet'] }
  client.before?.(stage)
  const pasted = await paste(snippet, env)
  if (pasted.code !== 0) outcome.problems.push(`its snippet failed: ${pasted.stderr}`)
  client.after?.(stage)

  const [before, linesBefore] = [spoken.length, heardSince(0).length]
  const listed = await runInShell(client.list, { env, cwd: stage.home, timeoutMs: CLIENT_MS })
  outcome.spoken = [...spoken.slice(before), ...heardSince(linesBefore)]
  for (const server of servers) {
    const done = outcome.spoken.filter((one) => one.server === server && one.status === 200).map(({ method }) => method)
    if (!done.includes('initialize') && !done.includes('server/discover'))
      outcome.problems.push(`no start at ${server}`)
    if (!done.includes('tools/list')) outcome.problems.push(`no tools/list at ${server}`)
  }
  if ((await tokenNow(issued.id)).requests === 0) outcome.problems.push('the gate counted nothing under its token')
  const seen = [...wires.flatMap((wire) => wire.seen), readFileSync(heard, 'utf8')]
  if (seen.some((request) => request.includes(issued.token))) outcome.problems.push('the upstream saw its token')
  if (outcome.problems.length > 0) outcome.problems.push(listed.stdout.slice(-2_000), listed.stderr.slice(-2_000))

  await node.revoke({ tokens: [issued.id] })
  const [alive, linesAlive] = [spoken.length, heardSince(0).length]
  await runInShell(client.list, { env, cwd: stage.home, timeoutMs: CLIENT_MS })
  // Only what the gate itself sends upstream after a cut may come: the end of a session.
  const later = [...spoken.slice(alive), ...heardSince(linesAlive)]
  const after = later.filter(({ method }) => method !== 'DELETE' && method !== 'notifications/cancelled')
  if (after.length > 0) outcome.problems.push(`after the revoke: ${after.map(({ method }) => method).join(', ')}`)
  if ((await tokenNow(issued.id)).deadTries.count === 0) outcome.problems.push('it did not come back after the revoke')
  return outcome
}

const wanted = process.argv.slice(2)
const chosen = REAL_CLIENTS.filter(({ id }) => wanted.length === 0 || wanted.includes(id))
const outcomes: Outcome[] = []
for (const client of chosen) {
  console.log(`… ${client.package} ${client.version}`)
  outcomes.push(
    await tryOut(client).catch((error: unknown) => ({ client: client.id, spoken: [], problems: [String(error)] })),
  )
}

console.table(
  outcomes.flatMap(({ client, spoken: own, problems }) => {
    const servers = [...new Set(own.map(({ server }) => server))]
    return (servers.length > 0 ? servers : ['-']).map((server) => {
      const said = own.filter((one) => one.server === server)
      return {
        client,
        server,
        revision: [...new Set(said.map(({ revision }) => revision ?? 'not said'))].join(', '),
        methods: [...new Set(said.map(({ method }) => method))].join(', '),
        ok: problems.length === 0,
      }
    })
  }),
)
for (const { client, problems } of outcomes) for (const problem of problems) console.error(`${client}: ${problem}`)
await node.stop()
for (const wire of wires) wire.stop()
await Promise.all([sessions.stop(), stateless.stop(), model.stop(true)])
process.exit(outcomes.length > 0 && outcomes.every(({ problems }) => problems.length === 0) ? 0 : 1)
