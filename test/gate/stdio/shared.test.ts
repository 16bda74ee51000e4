import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Client } from '@modelcontextprotocol/client'
import { eventually } from '../../support/poll.ts'
import { mcp, startFront, stateless, textOf } from './fronted.ts'
import { ECHO, isAlive, raw } from './supervised.ts'

type Front = ReturnType<typeof startFront>

const call = async (client: Client, name: string, args: Record<string, unknown> = {}) =>
  textOf(await client.callTool({ name, arguments: args }))

const statusOf = (front: Front) => front.supervisor.statusOf({ id: 'srv_s' })

const stderrOf = (front: Front) => statusOf(front).stderr.map(({ line }) => line)

const INITIALIZE = {
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bare', version: '1' } },
}

/** A server whose input is written down. */
const recorded = (front: Front, ...words: string[]) => {
  const file = `${front.supervisor.deps.launch.dataFolder}/heard`
  front.add('s', ['/bin/sh', '-c', 'tee -a "$0" | "$@"', file, ...mcp('2025', ...words)], { shared: true })
  const heard = (method: string): Record<string, unknown>[] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((message) => message['method'] === method)
  return { heard }
}

test('one process, initialized once by the gate, answers every client, each its own', async () => {
  await using front = startFront()
  const { heard } = recorded(front)
  const names = Array.from({ length: 12 }, (_, index) => `c${index}`)
  const clients = await Promise.all(names.map((as) => front.connect('s', { as })))
  // All count their ids from the same number.
  const said = await Promise.all(
    clients.flatMap((client, index) =>
      Array.from({ length: 25 }, async (_, turn) => {
        const text = `${names[index]}-${turn}`
        return (await call(client, 'echo', { text })) === `echo: ${text}`
      }),
    ),
  )
  expect(said.length).toBe(300)
  expect(said.every(Boolean)).toBe(true)
  const pids = await Promise.all(clients.map((client) => call(client, 'pid')))
  expect(new Set(pids).size).toBe(1)
  expect(statusOf(front)).toMatchObject({ processes: 1, startedInAll: 1 })
  expect(clients.every((client) => client.getServerVersion()?.name === 'test-stdio')).toBe(true)
  expect(heard('initialize')).toMatchObject([
    { params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'portcullis' } } },
  ])
  expect(heard('notifications/initialized').length).toBe(1)
  // It is nobody's: a cut of a token ends no process of others.
  expect(front.registry.size).toBe(0)
})

test('a client hears the revision that it asked for, unless it is one that the server does not speak', async () => {
  await using front = startFront()
  front.add('s', mcp('2025'), { shared: true })
  const told = async (protocolVersion: string) => {
    const answer = await front.post('s', { ...INITIALIZE, params: { ...INITIALIZE.params, protocolVersion } })
    expect(answer.status).toBe(200)
    return /"protocolVersion":"([^"]*)"/.exec(await answer.text())?.[1]
  }
  expect(await told('2025-11-25')).toBe('2025-11-25')
  expect(await told('2025-03-26')).toBe('2025-03-26')
  expect(await told('1999-01-01')).toBe('2025-11-25')
  expect(await told('2030-01-01')).toBe('2025-11-25')
})

test('progress goes to who asked, and giving up ends only the own call', async () => {
  await using front = startFront()
  front.add('s', mcp('2025'), { shared: true })
  const [one, two] = await Promise.all([front.connect('s'), front.connect('s', { as: 'two' })])
  const seen = { one: 0, two: 0 }
  const stop = new AbortController()
  const first = one
    .callTool(
      { name: 'slow', arguments: { seconds: 600 } },
      { signal: stop.signal, onprogress: () => void (seen.one += 1) },
    )
    .then(() => 'answered', String)
  const second = two.callTool(
    { name: 'slow', arguments: { seconds: 0.5 } },
    { onprogress: ({ total }) => void (seen.two += total === 5 ? 1 : 100) },
  )
  await eventually(() => seen.one > 1)
  stop.abort()
  expect(textOf(await second)).toBe('slept')
  expect(seen.two).toBe(5)
  expect(await first).not.toBe('answered')
  await eventually(() => stderrOf(front).includes('slow was cancelled'))
})

test('changes are told to all, resources to those who subscribed, as long as they do', async () => {
  await using front = startFront()
  const { heard } = recorded(front)
  const clients = await Promise.all(['one', 'two', 'three'].map((as) => front.connect('s', { as })))
  const told = clients.map(() => [] as string[])
  for (const [index, client] of clients.entries()) {
    client.setNotificationHandler('notifications/tools/list_changed', () => void told[index]?.push('tools'))
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => void told[index]?.push(params.uri))
  }
  const [one, two, three] = clients as [Client, Client, Client]
  await call(three, 'changed')
  await eventually(() => told.every((each) => each.includes('tools')))
  await one.subscribeResource({ uri: 'test://one' })
  await two.subscribeResource({ uri: 'test://one' })
  await three.subscribeResource({ uri: 'test://one-and-more' })
  await call(three, 'updated', { uri: 'test://one' })
  await call(three, 'updated', { uri: 'test://one/part' })
  await eventually(() => told.slice(0, 2).every((each) => each.includes('test://one/part')))
  expect(told[2]).toEqual(['tools'])
  await one.unsubscribeResource({ uri: 'test://one' })
  expect(heard('resources/unsubscribe')).toEqual([])
  await call(three, 'updated', { uri: 'test://one' })
  await eventually(() => told[1]?.length === 4)
  expect(told[0]?.length).toBe(3)
  // The last one leaves without a word.
  await (two.transport as unknown as { terminateSession(): Promise<void> }).terminateSession()
  await eventually(() => heard('resources/unsubscribe').length === 1)
  expect(heard('resources/unsubscribe')).toMatchObject([{ params: { uri: 'test://one' } }])
})

test('a server that changes on and on is heard now and then, and at the end', async () => {
  await using front = startFront()
  const answer =
    '{"jsonrpc":"2.0","id":\\1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"},"content":[]}}'
  const change = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
  const floods = `while read -r line; do
    case "$line" in *'"tools/call"'*) yes '${change}' | head -n 20000;; esac
    case "$line" in *'"id"'*) echo "$line" | sed -E 's/.*"id":([0-9]+).*/${answer}/';; esac
  done`
  front.add('s', ['/bin/sh', '-c', floods], { shared: true })
  const clients = await Promise.all(['one', 'two', 'three'].map((as) => front.connect('s', { as })))
  const heard = clients.map((client) => {
    const times = { count: 0 }
    client.setNotificationHandler('notifications/tools/list_changed', () => void (times.count += 1))
    return times
  })
  await clients[0]?.callTool({ name: 'flood', arguments: {} })
  await eventually(() => heard.every(({ count }) => count > 1))
  for (const { count } of heard) expect(count).toBeLessThan(1_000)
})

test('a session hears of so many resources, and of no more', async () => {
  await using front = startFront({ stdioSubscriptionsMax: 3 })
  front.add('s', mcp('2025'), { shared: true })
  const client = await front.connect('s')
  for (const number of [1, 2, 3]) await client.subscribeResource({ uri: `test://${number}` })
  expect(await client.subscribeResource({ uri: 'test://4' }).then(() => 'subscribed', String)).toContain('More than 3')
  await client.unsubscribeResource({ uri: 'test://3' })
  await client.subscribeResource({ uri: 'test://4' })
})

test('there are no tasks, since they are listed to whoever asks', async () => {
  await using front = startFront()
  // A server of its own words: it says that it has tasks, and answers whatever it is asked.
  const answers = String.raw`while read -r line; do
    case "$line" in *'"id"'*) echo "$line" | sed -E 's/.*"id":([0-9]+).*/{"jsonrpc":"2.0","id":\1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{"list":{}}},"serverInfo":{"name":"tasks","version":"1"},"tasks":["of another"]}}/';; esac
  done`
  front.add('s', ['/bin/sh', '-c', answers], { shared: true })
  const opened = await front.post('s', INITIALIZE)
  const text = await opened.text()
  expect(text).toContain('"capabilities":{"tools":{}}')
  const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
  await front.post('s', { method: 'notifications/initialized' }, headers)
  const listed = await (await front.post('s', { id: 1, method: 'tasks/list' }, headers)).text()
  expect(listed).toContain('-32601')
  expect(listed).not.toContain('of another')
})

test("nobody reads another's log messages", async () => {
  await using front = startFront()
  const { heard } = recorded(front)
  const [one, two] = await Promise.all([front.connect('s'), front.connect('s', { as: 'two' })])
  const logs = { one: [] as unknown[], two: [] as unknown[] }
  one.setNotificationHandler('notifications/message', ({ params }) => void logs.one.push(params.data))
  two.setNotificationHandler('notifications/message', ({ params }) => void logs.two.push(params.data))
  await call(one, 'log', { text: 'of one' })
  await eventually(() => logs.one.length === 1)
  // While both wait, whose it is can't be known.
  const progressed = Promise.withResolvers<void>()
  const slow = two.callTool({ name: 'slow', arguments: { seconds: 0.5 } }, { onprogress: () => progressed.resolve() })
  await progressed.promise
  await call(one, 'log', { text: 'of whom' })
  await slow
  await call(two, 'log', { text: 'of two' })
  await eventually(() => logs.two.length === 1)
  expect(logs).toEqual({ one: ['of one'], two: ['of two'] })
  // Levels are each client's own; the server hears the lower.
  await one.setLoggingLevel('error')
  await two.setLoggingLevel('debug')
  await call(one, 'log', { text: 'too low' })
  await call(two, 'log', { text: 'heard' })
  await eventually(() => logs.two.length === 2)
  expect(logs).toEqual({ one: ['of one'], two: ['of two', 'heard'] })
  expect(heard('logging/setLevel').map(({ params }) => params)).toEqual([{ level: 'error' }, { level: 'debug' }])
})

test('the server may ask no client anything', async () => {
  await using front = startFront()
  front.add('s', mcp('2025'), { shared: true })
  const client = await front.connect('s', { capabilities: { sampling: {}, elicitation: {}, roots: {} } })
  let asked = 0
  client.setRequestHandler('roots/list', () => {
    asked += 1
    return { roots: [] }
  })
  for (const name of ['sample', 'elicit', 'roots'])
    expect(await call(client, name).then(() => 'answered', String)).not.toBe('answered')
  expect(asked).toBe(0)
})

test('a session that ends takes its calls with it, and nothing of the others', async () => {
  await using front = startFront()
  front.add('s', mcp('2025'), { shared: true })
  const [one, two] = await Promise.all([front.connect('s'), front.connect('s', { as: 'two' })])
  const pid = await call(two, 'pid')
  const progressed = Promise.withResolvers<void>()
  const slow = one
    .callTool({ name: 'slow', arguments: { seconds: 600 } }, { onprogress: () => progressed.resolve() })
    .then(() => 'answered', String)
  await progressed.promise
  await (one.transport as unknown as { terminateSession(): Promise<void> }).terminateSession()
  await eventually(() => stderrOf(front).includes('slow was cancelled'))
  expect(front.ended.length).toBe(1)
  expect(await call(two, 'pid')).toBe(pid)
  await one.close()
  expect(await slow).not.toBe('answered')
})

test('its death ends all its sessions, and the next one starts it anew', async () => {
  await using front = startFront({ stdioBackoffMs: 50 })
  front.add('s', mcp('2025'), { shared: true })
  const [one, two] = await Promise.all([front.connect('s'), front.connect('s', { as: 'two' })])
  const pid = await call(one, 'pid')
  const failures = await Promise.all(
    [
      two.callTool({ name: 'slow', arguments: { seconds: 600 } }),
      one.callTool({ name: 'exit', arguments: { code: 3 } }),
    ].map((answer) => answer.then(() => 'answered', String)),
  )
  for (const failure of failures) expect(failure).toContain('exit code 3')
  await eventually(() => front.ended.length === 2)
  for (const client of [one, two])
    expect(await call(client, 'pid').then(() => '', String)).toContain('Session not found')
  const next = await eventually(() => front.connect('s'))
  expect(await call(next, 'pid')).not.toBe(pid)
  expect(statusOf(front)).toMatchObject({ crashes: 1, startedInAll: 2 })
})

test('who reads too slowly is ended, and holds up nobody', async () => {
  await using front = startFront({ stdioUnreadBytesMax: 64 * 1024, stdioBehindBytesMax: 256 * 1024 })
  front.add('s', mcp('2025'), { shared: true })
  const other = await front.connect('s', { as: 'two' })
  const pid = await call(other, 'pid')
  const opened = await front.post('s', INITIALIZE)
  const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
  await opened.text()
  await front.post('s', { method: 'notifications/initialized' }, headers)
  const flood = { name: 'flood', arguments: { messages: 4_000, bytes: 20_000 } }
  const unread = await front.post('s', { id: 5, method: 'tools/call', params: flood }, headers)
  await eventually(() => front.ended.includes(headers['mcp-session-id']))
  expect(await call(other, 'pid')).toBe(pid)
  expect((await front.post('s', { id: 6, method: 'ping' }, headers)).status).toBe(404)
  // What it was given before is there, and says at its end why there is no more.
  const text = await unread.text()
  // Sockets hold some of it.
  expect(text.length).toBeLessThan(20 * 1024 * 1024)
  expect(text).toContain('reads too slowly')
  expect(text).not.toContain('flooded')
})

test('a large answer is no reason to be ended', async () => {
  await using front = startFront({ stdioUnreadBytesMax: 64 * 1024, stdioBehindBytesMax: 256 * 1024 })
  front.add('s', mcp('2025'), { shared: true })
  const client = await front.connect('s')
  expect((await call(client, 'big', { bytes: 3_000_000 })).length).toBe(3_000_000)
  expect((await call(client, 'big', { bytes: 3_000_000 })).length).toBe(3_000_000)
  expect(front.ended).toEqual([])
})

test('it lives as long as it is used, and a session as long as its client comes', async () => {
  await using front = startFront()
  front.add('s', mcp('2025'), { shared: true, exactIdleMs: 300 })
  const one = await front.connect('s')
  const two = await front.connect('s', { as: 'two' })
  const pid = Number(await call(one, 'pid'))
  // The one that a client still listens to goes on; a bare one, whose client is gone, does not.
  const opened = await front.post('s', INITIALIZE)
  await opened.text()
  const bare = opened.headers.get('mcp-session-id') ?? ''
  await eventually(() => front.ended.includes(bare))
  expect(front.ended).toEqual([bare])
  expect(await call(two, 'pid')).toBe(String(pid))
  await Promise.all([one.close(), two.close()])
  await eventually(() => !isAlive(pid))
  expect(statusOf(front).crashes).toBe(0)
})

test('a server that changed runs anew for who comes next', async () => {
  await using front = startFront()
  const server = front.add('s', mcp('2025'), { shared: true })
  const pid = await call(await front.connect('s'), 'pid')
  server.stdio = front.specOf(mcp('2025'), { shared: true })
  expect(await call(await front.connect('s', { as: 'two' }), 'pid')).not.toBe(pid)
})

test('what can not be initialized tells so', async () => {
  await using front = startFront({ stdioStartMs: 200 })
  front.add('exits', raw('exit', '0', '3'), { shared: true })
  front.add('silent', raw('deaf'), { shared: true })
  front.add('echo', ECHO, { shared: true })
  const open = async (name: string) => {
    const answer = await front.post(name, INITIALIZE)
    return [answer.status, ((await answer.json()) as { detail: string }).detail]
  }
  expect(await open('exits')).toEqual([502, 'The server exited: exit code 3'])
  expect(await open('silent')).toEqual([504, expect.stringContaining('did not answer in time')])
  // It says every request back, so it is asked itself, refuses, and takes its own refusal for the answer.
  expect(await open('echo')).toEqual([502, expect.stringContaining('The server refused to be initialized')])
  await eventually(() =>
    ['exits', 'silent', 'echo'].every((name) => !front.supervisor.statusOf({ id: `srv_${name}` }).processes),
  )
})

test('stateless requests of all tokens share one process too, and nobody hears of another', async () => {
  await using front = startFront()
  front.add('s', mcp(), { shared: true })
  const pin = { versionNegotiation: { mode: { pin: '2026-07-28' } } } as const
  const [one, two] = await Promise.all([front.connect('s', pin), front.connect('s', { ...pin, as: 'two' })])
  expect(await call(one, 'pid')).toBe(await call(two, 'pid'))
  const said = await Promise.all(
    [one, two].flatMap((client, index) =>
      Array.from({ length: 50 }, async (_, turn) => {
        const text = `${index}-${turn}`
        return (await call(client, 'echo', { text })) === `echo: ${text}`
      }),
    ),
  )
  expect(said.every(Boolean)).toBe(true)
  const log = stateless(
    'tools/call',
    { name: 'log', arguments: { text: 'secret' } },
    { 'io.modelcontextprotocol/logLevel': 'debug' },
  )
  expect(await (await front.post('s', log.message, log.headers)).text()).toContain('secret')
  const slow = stateless(
    'tools/call',
    { name: 'slow', arguments: { seconds: 0.5 } },
    { 'io.modelcontextprotocol/logLevel': 'debug', progressToken: 1 },
  )
  const waiting = await front.post('s', slow.message, { ...slow.headers, 'x-client': 'two' })
  expect(await (await front.post('s', log.message, log.headers)).text()).not.toContain('"secret"')
  expect(await waiting.text()).not.toContain('secret')
  // A client with a session comes too: a process speaks one generation, so that is a second one.
  const old = await front.connect('s', { as: 'three' })
  expect(await call(old, 'pid')).not.toBe(await call(one, 'pid'))
  expect(statusOf(front).processes).toBe(2)
})

test('of stateless answers too, one that is not read is ended', async () => {
  await using front = startFront({ stdioUnreadBytesMax: 64 * 1024, stdioBehindBytesMax: 256 * 1024 })
  front.add('s', mcp('2026'), { shared: true, exactIdleMs: 200 })
  const flood = stateless(
    'tools/call',
    { name: 'flood', arguments: { messages: 4_000, bytes: 20_000 } },
    { 'io.modelcontextprotocol/logLevel': 'debug' },
  )
  const unread = await front.post('s', flood.message, flood.headers)
  const pin = { versionNegotiation: { mode: { pin: '2026-07-28' } } } as const
  const other = await front.connect('s', { ...pin, as: 'two' })
  expect((await call(other, 'big', { bytes: 3_000_000 })).length).toBe(3_000_000)
  // Nobody uses it any more, also not the one that does not read.
  await eventually(() => statusOf(front).processes === 0)
  const text = await unread.text()
  // Sockets hold some of it.
  expect(text.length).toBeLessThan(20 * 1024 * 1024)
  expect(text).toContain('reads too slowly')
})
