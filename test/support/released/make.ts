import { Database } from 'bun:sqlite'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ApiKeyJson, CheckpointJson, RevocationJson, TokenJson } from '../../../src/server/api/schemas.ts'
import { filesOf } from '../../../src/store/folder.ts'
import { consoleApi } from '../../api/console.ts'
import { makeOperator, setUp } from '../../api/session.ts'
import { portcullis } from '../../cli/run.ts'
import { builtBinary } from '../binary.ts'
import { smallFolder } from '../full-disk.ts'
import { startNode, type TestNode } from '../node.ts'
import { eventually } from '../poll.ts'
import { ask, open } from '../raw.ts'
import { bearer } from '../secret.ts'
import { tempFolder } from '../temp.ts'
import { startEcho } from '../upstreams/echo.ts'
import { startEvents } from '../upstreams/events.ts'
import { type Facts, PACKED } from './released.ts'

/**
 * Keeps what a version leaves in its data folder, for the tests of every later one:
 *
 *     bun test/support/released/make.ts [COMMAND…]
 *
 * runs that version (by default the executable of this checkout) on a small disk of its own, so as root. To be run once,
 * when a version is released; another run makes other ids, and nothing else. What is here was made by the last commit of
 * each version: a50d390 (0.1.0), f584f0b (0.2.0), c22ab13 (0.3.0), 09ecb1c (0.4.0), 1af08bd (0.5.0) and 9247756 (0.6.0).
 */

const GRACE_SECONDS_MAX = 7 * 24 * 3_600
const HEADER = { name: 'X-Upstream-Key', value: 'sealed by an older version' }
const PASSWORD = 'a long enough password'

const command = process.argv.length > 2 ? process.argv.slice(2) : [builtBinary()]
const home = tempFolder()
await using folder = await smallFolder('24m')
const { data } = folder
const echo = await startEcho()
const events = await startEvents({ intervalMs: 20 })
const start = () => startNode({ data, command, env: { HOME: home } })

const cli = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await portcullis([...args, '--data', data], { command })
  if (code !== 0) throw new Error(`${args.join(' ')}: ${code} ${stderr}`)
  return stdout
}

interface Secret {
  token: string
  secret: string
  server: string
  diesAt?: string
}
const secrets: Secret[] = []
const answerOf = async (node: TestNode, { secret, server }: Secret): Promise<number> => {
  const client = await open(node.gate, { target: `/s/${server}/x`, headers: bearer(secret) })
  await client.until(({ head, ended }) => head !== null || ended !== 'open')
  client.close()
  return client.status
}
const answersOf = (node: TestNode) => Promise.all(secrets.map((secret) => answerOf(node, secret)))
const must = <T>(what: string, seen: T, wanted: T): void => {
  if (!Bun.deepEquals(seen, wanted)) throw new Error(`${what}: ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`)
}

const issue = async (node: TestNode, name: string, extra: Record<string, unknown> = {}, server = 'github') => {
  const { id, token } = await node.createToken(name, [server], extra)
  const secret: Secret = { token: name, secret: token, server }
  secrets.push(secret)
  return { id, secret }
}
const rotate = async (node: TestNode, name: string, graceSeconds: number) => {
  const { id, secret: old } = await issue(node, name)
  const { json } = await node.api<TokenJson & { token: string }>('POST', `/tokens/${id}/rotations`, { graceSeconds })
  old.diesAt = json.oldSecretDiesAt ?? new Date().toISOString()
  secrets.push({ token: name, secret: json.token, server: old.server })
}
const expect = async (node: TestNode, name: string, wanted: number[]): Promise<void> => {
  const own = secrets.filter(({ token }) => token === name)
  await eventually(async () => Bun.deepEquals(await Promise.all(own.map((it) => answerOf(node, it))), wanted), {
    what: `${name} answers ${wanted.join(', ')}`,
  })
}

let node = await start()
const made = { operators: [] as Facts['operators'], apiKeys: [] as Facts['apiKeys'] }

// Servers
await node.addServer('github', echo.url, { headers: { [HEADER.name]: HEADER.value } })
for (const name of ['events', 'closed', 'retired', 'gone']) await node.addServer(name, events.url)

// People and programs
for (const [name, role] of [
  ['owner', 'owner'],
  ['ada', 'operator'],
  ['left', 'auditor'],
] as const) {
  if (role === 'owner') await setUp(node, name, PASSWORD)
  else await makeOperator(node, name, role, PASSWORD)
  made.operators.push({ name, password: PASSWORD, role, removed: name === 'left' })
}
await node.api('DELETE', '/operators/left')
for (const name of ['ci', 'removed']) {
  const { json } = await node.api<ApiKeyJson & { key: string }>('POST', '/apikeys', { name, role: 'operator' })
  if (name === 'removed') await node.api('DELETE', `/apikeys/${json.id}`)
  const answer = (await consoleApi(node, json.key)('GET', '/tokens')).status
  made.apiKeys.push({ name, key: json.key, answer })
}
must(
  'API keys',
  made.apiKeys.map(({ answer }) => answer),
  [200, 401],
)

// Tokens under the first key, then under a second
const lives = await issue(node, 'lives', { subject: 'dev@example.com', group: 'Contractors' })
await ask(node.gate, {
  target: '/s/github/x',
  headers: { ...bearer(lives.secret.secret), 'User-Agent': 'cursor/1.0' },
})
const revokedById = await issue(node, 'revoked by id')
const checkpoints = [JSON.parse(await cli('audit', 'checkpoint')) as CheckpointJson]
await cli('key', 'rotate')
checkpoints.push(JSON.parse(await cli('audit', 'checkpoint')) as CheckpointJson)
must('keys of checkpoints', new Set(checkpoints.map(({ keyId }) => keyId)).size, 2)
await issue(node, 'lives under the second key', { subject: 'Dev@Example.com' })
await issue(node, 'expires in years', { expiresAt: new Date(Date.now() + 9.9 * 365 * 24 * 3_600_000).toISOString() })
await issue(node, 'expired', { expiresAt: new Date(Date.now() + 1_000).toISOString() })
await rotate(node, 'rotated', 0)
await rotate(node, 'rotated, grace over', 1)
await rotate(node, 'rotated, in grace', GRACE_SECONDS_MAX)
const { id: guarded } = await issue(node, 'guarded')
const policed = await node.api('PUT', `/tokens/${guarded}/policy`, { deny: ['delete_*'] })
if (policed.status !== 200) console.error(`no policies: PUT answered ${policed.status}`)
await issue(node, 'of a removed server', {}, 'gone')
await node.api('DELETE', '/servers/gone')
await issue(node, 'of a closed server', {}, 'closed')
await node.api('PUT', '/servers/closed/gate', { state: 'closed', reason: 'until Monday' })
await issue(node, 'of a server that closes', {}, 'events')

// The dead
for (const name of ['leaver 1', 'leaver 2']) await issue(node, name, { subject: 'leaver@example.com' })
await issue(node, 'of a group', { group: 'contractors-phoenix' })
await issue(node, 'of a retired server', {}, 'retired')
const { secret: streaming } = await issue(node, 'streaming', {}, 'events')
const { id: pending } = await issue(node, 'revoked while the disk was full')
await answersOf(node)
const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(streaming.secret) })
await stream.until(({ text }) => text.includes('data: '))
const waiting = await node.revoke({ tokens: ['streaming'], note: 'with a live stream' })
must('cut', waiting.connections.cut, 1)
await stream.done()
await node.revoke({ tokens: [revokedById.id], reason: 'lost_device', note: 'by its id' })
await node.revoke({ subject: 'LEAVER@example.com', reason: 'offboarding', note: 'two at once' })
await node.revoke({ group: 'contractors-phoenix', reason: 'role_change' })
await node.revoke({ server: 'retired', reason: 'policy' })
await expect(node, 'expired', [401])
await expect(node, 'rotated', [401, 200])
await expect(node, 'rotated, grace over', [401, 200])
await expect(node, 'rotated, in grace', [200, 200])
await expect(node, 'leaver 2', [401])

// The second half of its life: a backup, then a full disk
const backup = join(home, 'backup')
await cli('backup', backup)
const inBackup = await answersOf(node)
await node.stop()
node = await start()
// What the first half left on disk: what the gate counts from here on is lost with the process.
const { json: kept } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
const deadTries = new Map(kept.items.map(({ id, deadTries: tries }) => [id, tries.count]))
folder.fill()
const late = await node.api<RevocationJson>('POST', '/revocations', {
  tokens: [pending],
  reason: 'compromised',
  note: 'while the disk was full',
})
must('a revocation on a full disk', [late.status, late.json.durable], [507, false])
await node.api('PUT', '/servers/events/gate', { state: 'closed', reason: 'while the disk was full' })
await expect(node, 'revoked while the disk was full', [401])
const answers = await answersOf(node)
const { json: tokens } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
const { json: servers } = await node.api<{ items: { name: string; state: string }[] }>('GET', '/servers')
const { json: revocations } = await node.api<{ items: RevocationJson[] }>('GET', '/revocations?limit=1000')
checkpoints.push((await node.api<CheckpointJson>('GET', '/audit/checkpoint')).json)
const version = (JSON.parse(await cli('version', '--json')) as { version: string }).version
node.kill('SIGKILL')
await node.exited
folder.free()
events.stop()
echo.stop()

const files = filesOf(data)
const client = new Database(files.database)
client.run('PRAGMA wal_checkpoint(TRUNCATE)')
client.close()
const facts: Facts = {
  version,
  madeAt: new Date().toISOString(),
  header: HEADER,
  tokens: Object.fromEntries(
    tokens.items.map(({ name, id, status, subject, group, policy }) => [
      name,
      { id, status, subject, group, deadTries: deadTries.get(id) ?? 0, ...(policy && { policy }) },
    ]),
  ),
  secrets: secrets.map((secret, at) => ({ ...secret, answer: answers[at] ?? 0, inBackup: inBackup[at] ?? 0 })),
  servers: Object.fromEntries(servers.items.map(({ name, state }) => [name, state])),
  ...made,
  revocations: revocations.items.map(({ id, note, tokens: dead, connections }) => ({
    id,
    note,
    tokens: dead.map(({ name }) => name),
    cut: connections.cut,
  })),
  checkpoints,
}
const to = join(import.meta.dir, version)
mkdirSync(to, { recursive: true })
const pack = (name: string, file: string) =>
  writeFileSync(join(to, name), Bun.gzipSync(readFileSync(file), { level: 9 }))
pack(PACKED.database, files.database)
pack(PACKED.journal, files.journal)
pack(PACKED.backup, backup)
writeFileSync(join(to, PACKED.key), readFileSync(files.key), { mode: 0o600 })
writeFileSync(join(to, 'facts.json'), `${JSON.stringify(facts, null, 2)}\n`)
console.log(`${to}: ${secrets.length} secrets of ${tokens.items.length} tokens`)
