import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Client } from '@modelcontextprotocol/client'
import { eventually } from '../../support/poll.ts'
import { mcp, startFront, stateless, textOf } from './fronted.ts'
import { isAlive, raw } from './supervised.ts'

const AUTO = { versionNegotiation: { mode: 'auto' } } as const
const PIN = { versionNegotiation: { mode: { pin: '2026-07-28' } } } as const

const call = async (client: Client, name: string, args: Record<string, unknown> = {}) =>
  textOf(await client.callTool({ name, arguments: args }))

const runningOf = (front: Awaited<ReturnType<typeof startFront>>, name: string) =>
  front.supervisor.statusOf({ id: `srv_${name}` })

test('stateless requests of one token go to one process, those of another to another', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'))
  const one = await front.connect('s', PIN)
  const again = await front.connect('s', PIN)
  const two = await front.connect('s', { ...PIN, as: 'two' })
  expect(one.getNegotiatedProtocolVersion()).toBe('2026-07-28')
  const pids = await Promise.all([call(one, 'pid'), call(one, 'pid'), call(again, 'pid'), call(two, 'pid')])
  expect(new Set(pids.slice(0, 3)).size).toBe(1)
  expect(pids[3]).not.toBe(pids[0] as string)
  expect(runningOf(front, 's').processes).toBe(2)
  expect(await call(one, 'echo', { text: 'x'.repeat(100_000) })).toBe(`echo: ${'x'.repeat(100_000)}`)
  // The trial was a process that was kept.
  expect(runningOf(front, 's').startedInAll).toBe(2)
})

test('progress, log messages and what the server wants to know of the client', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'))
  const client = await front.connect('s', { ...PIN, capabilities: { elicitation: {}, sampling: {}, roots: {} } })
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept' as const, content: { name: 'Ada' } }))
  const seen: number[] = []
  const slow = client.callTool(
    { name: 'slow', arguments: { seconds: 0.3 } },
    { onprogress: ({ progress }) => void seen.push(progress) },
  )
  expect(textOf(await slow)).toBe('slept')
  expect(seen).toEqual([1, 2, 3])
  expect(JSON.parse(await call(client, 'elicit'))).toEqual({ action: 'accept', content: { name: 'Ada' } })
  const { message, headers } = stateless(
    'tools/call',
    { name: 'log', arguments: { text: 'hello' } },
    { 'io.modelcontextprotocol/logLevel': 'debug' },
  )
  const said = await (await front.post('s', message, headers)).text()
  expect(said).toContain('"notifications/message"')
  expect(said).toContain('hello')
  const silent = stateless('tools/call', { name: 'log', arguments: { text: 'hello' } })
  expect(await (await front.post('s', silent.message, silent.headers)).text()).not.toContain('hello')
})

test('a client of both eras reaches a command of either, and of both', async () => {
  await using front = startFront()
  front.add('new', mcp('2026'))
  front.add('old', mcp('2025'))
  front.add('both', mcp())
  const negotiated = await Promise.all(
    ['new', 'old', 'both'].map(async (name) => {
      const client = await front.connect(name, AUTO)
      expect(await call(client, 'add', { a: 2, b: 3 })).toBe('5')
      return client.getNegotiatedProtocolVersion()
    }),
  )
  expect(negotiated).toEqual(['2026-07-28', '2025-11-25', '2026-07-28'])
  // A client of 2025 at a command of both.
  const old = await front.connect('both')
  expect(old.getNegotiatedProtocolVersion()).toBe('2025-11-25')
  expect(await call(old, 'add', { a: 2, b: 3 })).toBe('5')
})

test('what a command speaks is asked once, and a command that dies of the question has not crashed', async () => {
  await using front = startFront({ stdioBackoffMs: 60_000 })
  const folder = front.supervisor.deps.launch.dataFolder
  // Says what it was asked, and ends at anything but `initialize`.
  const picky = `while read -r line; do echo "$line" >> ${folder}/asked
    case "$line" in
      *'"initialize"'*) echo "$line" | sed -E 's/.*"id":("[^"]*"|[0-9]+).*/{"jsonrpc":"2.0","id":\\1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"picky","version":"1"}}}/';;
      *'"notifications/initialized"'*) ;;
      *'"ping"'*) echo "$line" | sed -E 's/.*"id":("[^"]*"|[0-9]+).*/{"jsonrpc":"2.0","id":\\1,"result":{}}/';;
      *) exit 1;;
    esac
  done`
  front.add('picky', ['/bin/sh', '-c', picky])
  for (let time = 0; time < 2; time += 1) {
    const client = await front.connect('picky', AUTO)
    expect(client.getServerVersion()?.name).toBe('picky')
    await client.ping()
  }
  const asked = await Bun.file(`${folder}/asked`).text()
  expect(asked.match(/server\/discover/g)?.length).toBe(1)
  expect(runningOf(front, 'picky')).toMatchObject({ crashes: 0, retryAt: null, lastCrash: null })
})

test('a command that never answers the question is taken for one of 2025, for a while', async () => {
  await using front = startFront({ stdioDiscoverMs: 100, stdioDiscoverAgainMs: 200 })
  front.add('deaf', raw('deaf'))
  const discover = stateless('server/discover')
  const ask = async () => (await front.post('deaf', discover.message, discover.headers)).json()
  expect(await ask()).toMatchObject({ error: { code: -32000 } })
  expect(await ask()).toMatchObject({ error: { code: -32000 } })
  expect(runningOf(front, 'deaf').startedInAll).toBe(1)
  await eventually(async () => {
    await ask()
    return runningOf(front, 'deaf').startedInAll === 2
  })
  // Whom nobody uses is gone.
  await eventually(() => runningOf(front, 'deaf').processes === 0)
})

test('errors have the status that 2026-07-28 wants, and its codes', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'))
  front.add('old', mcp('2025'))
  const good = stateless('tools/call', { name: 'add', arguments: { a: 1, b: 1 } })
  const ask = async (name: string, message: object, headers: Record<string, string>) => {
    const answer = await front.post(name, message, headers)
    const json = (await answer.json()) as { id: unknown; error?: { code: number } }
    return [answer.status, json.error?.code, json.id]
  }
  const without = (name: string) => Object.fromEntries(Object.entries(good.headers).filter(([key]) => key !== name))
  expect(await ask('s', good.message, good.headers)).toEqual([200, undefined, 1])
  expect(await ask('s', good.message, { ...good.headers, 'mcp-name': '=?base64?YWRk?=' })).toEqual([200, undefined, 1])
  for (const headers of [
    without('mcp-method'),
    without('mcp-name'),
    without('mcp-protocol-version'),
    { ...good.headers, 'mcp-method': 'tools/list' },
    { ...good.headers, 'mcp-name': 'pid' },
    { ...good.headers, 'mcp-protocol-version': '2025-11-25' },
  ])
    expect((await ask('s', good.message, headers)).slice(0, 2)).toEqual([400, -32020])
  const unknown = stateless('no/such')
  expect(await ask('s', unknown.message, unknown.headers)).toEqual([404, -32601, 1])
  const later = stateless('server/discover', {}, { 'io.modelcontextprotocol/protocolVersion': '2099-01-01' })
  expect(await ask('s', later.message, { ...later.headers, 'mcp-protocol-version': '2099-01-01' })).toEqual([
    400, -32022, 1,
  ])
  // An envelope that lacks what it must have.
  const bare = { id: 1, method: 'tools/list', params: {} }
  expect(await ask('s', bare, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' })).toEqual([
    400, -32602, 1,
  ])
  // What a tool refuses is no error of HTTP.
  const wrong = stateless('tools/call', { name: 'no-such', arguments: {} })
  expect((await front.post('s', wrong.message, wrong.headers)).status).toBe(200)
  expect((await ask('old', good.message, good.headers)).slice(0, 2)).toEqual([400, -32000])
})

test('a client that closes its response gives the call up, in the process too', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'))
  const client = await front.connect('s', PIN)
  const stop = new AbortController()
  const progressed = Promise.withResolvers<void>()
  const slow = client.callTool(
    { name: 'slow', arguments: { seconds: 600 } },
    { signal: stop.signal, onprogress: () => progressed.resolve() },
  )
  await progressed.promise
  stop.abort()
  await slow.catch(() => undefined)
  await eventually(() => runningOf(front, 's').stderr.some(({ line }) => line === 'slow was cancelled'))
  // And one of which nothing was said yet.
  const quiet = new AbortController()
  const { message, headers } = stateless('tools/call', { name: 'slow', arguments: { seconds: 600 } })
  const waiting = front.post('s', message, headers, quiet.signal).catch(() => null)
  await call(client, 'pid')
  quiet.abort()
  await waiting
  await eventually(() => runningOf(front, 's').stderr.filter(({ line }) => line === 'slow was cancelled').length === 2)
  expect(await call(client, 'add', { a: 1, b: 1 })).toBe('2')
})

test('subscriptions are long streams, each told what it asked for, under its own id', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'))
  const listen = async (id: string | number, filter: object) => {
    const { message, headers } = stateless('subscriptions/listen', { notifications: filter })
    const stop = new AbortController()
    const answer = await front.post('s', { ...message, id }, headers, stop.signal)
    expect(answer.headers.get('content-type')).toContain('text/event-stream')
    const heard: string[] = []
    void (async () => {
      for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>)
        heard.push(Buffer.from(chunk).toString())
    })().catch(() => undefined)
    await eventually(() => heard.join('').includes('acknowledged'))
    return { stop, text: () => heard.join('') }
  }
  const tools = await listen('mine', { toolsListChanged: true })
  const resource = await listen(1, { resourceSubscriptions: ['test://one'] })
  const client = await front.connect('s', PIN)
  await call(client, 'changed')
  await call(client, 'updated', { uri: 'test://one' })
  await eventually(() => resource.text().includes('resources/updated') && tools.text().includes('tools/list_changed'))
  expect(tools.text()).toContain('"io.modelcontextprotocol/subscriptionId":"mine"')
  expect(tools.text()).not.toContain('resources/updated')
  expect(resource.text()).toContain('"io.modelcontextprotocol/subscriptionId":1}')
  expect(resource.text()).not.toContain('tools/list_changed')
  tools.stop.abort()
  await call(client, 'changed')
  resource.stop.abort()
})

test('a death ends what is in flight with a clear error, and the next request starts anew', async () => {
  await using front = startFront({ stdioBackoffMs: 50 })
  front.add('s', mcp('2026'))
  const client = await front.connect('s', PIN)
  const pid = await call(client, 'pid')
  const progressed = Promise.withResolvers<void>()
  const begun = client.callTool(
    { name: 'slow', arguments: { seconds: 600 } },
    { onprogress: () => progressed.resolve() },
  )
  await progressed.promise
  const failure = begun.then(() => 'none', String)
  const { message, headers } = stateless('tools/call', { name: 'exit', arguments: { code: 3 } })
  const dying = await front.post('s', message, headers)
  expect([dying.status, ((await dying.json()) as { type: string }).type]).toEqual([
    502,
    'urn:portcullis:problem:server-exited',
  ])
  expect(await failure).toContain('The server exited: exit code 3')
  // The wait after a crash is for these clients too.
  const early = await front.post('s', message, headers)
  expect([early.status, early.headers.get('retry-after')]).toEqual([503, '1'])
  const next = await eventually(() => call(client, 'pid'))
  expect(next).not.toBe(pid)
  expect(runningOf(front, 's').crashes).toBe(1)
})

test('a cut of the process is heard at once, and one that was told to end serves nobody new', async () => {
  await using front = startFront()
  front.add('s', mcp('2026', 'stubborn'))
  const client = await front.connect('s', PIN)
  const pid = await call(client, 'pid')
  front.registry.cut([...front.registry.ofToken('tok_one')], 'connection_killed')
  expect(await call(client, 'pid')).not.toBe(pid)
  await eventually(() => !isAlive(Number(pid)))
  expect(runningOf(front, 's').crashes).toBe(0)
})

test('a process that no request uses ends, and is none of the next one', async () => {
  await using front = startFront()
  front.add('s', mcp('2026'), { exactIdleMs: 100 })
  const client = await front.connect('s', PIN)
  const pid = await call(client, 'pid')
  await eventually(() => !isAlive(Number(pid)))
  expect(await call(client, 'pid')).not.toBe(pid)
  expect(runningOf(front, 's').crashes).toBe(0)
})

test('a client that does not read holds its process back, and that of nobody else', async () => {
  await using front = startFront({ stdioUnreadBytesMax: 64 * 1024 })
  const file = `${front.supervisor.deps.launch.dataFolder}/said`
  front.add('s', ['/bin/sh', '-c', '"$@" | if [ -e "$0" ]; then cat; else tee "$0"; fi', file, ...mcp('2026')])
  const own = await front.connect('s', PIN)
  const other = await front.connect('s', { ...PIN, as: 'two' })
  const pid = await call(own, 'pid')
  const { message, headers } = stateless(
    'tools/call',
    { name: 'flood', arguments: { messages: 4_000, bytes: 20_000 } },
    { 'io.modelcontextprotocol/logLevel': 'debug' },
  )
  const flood = await front.post('s', message, headers)
  // Sockets and pipes take some of it, and then no more, whatever others do meanwhile.
  const said = () => Bun.file(file).size
  let before = -1
  await eventually(
    async () => {
      const still = said() === before
      before = said()
      expect(await call(other, 'add', { a: 1, b: 1 })).toBe('2')
      return still
    },
    { everyMs: 300, timeoutMs: 15_000 },
  )
  expect(said()).toBeLessThan(40 * 1024 * 1024)
  // And it is all there for who reads it in the end.
  const text = await flood.text()
  expect(text.match(/notifications\/message/g)?.length).toBe(4_000)
  expect(text).toContain('flooded')
  expect(await call(own, 'pid')).toBe(pid)
})

test('what was cut while its process was looked for is never sent', async () => {
  await using front = startFront()
  const file = `${front.supervisor.deps.launch.dataFolder}/heard`
  // It takes its time to say what it speaks.
  front.add('s', ['/bin/sh', '-c', 'tee "$0" | "$@"', file, ...mcp('2026', 'start=500')])
  const stop = new AbortController()
  const { message, headers } = stateless('tools/call', { name: 'echo', arguments: { text: 'never' } })
  const notification = stateless('notifications/never')
  const sent = [
    front.post('s', message, headers, stop.signal),
    front.post('s', { ...notification.message, id: undefined }, notification.headers, stop.signal),
  ].map((answer) => answer.catch(() => null))
  await eventually(() => runningOf(front, 's').processes === 1 && readFileSync(file, 'utf8').includes('discover'))
  stop.abort()
  await Promise.all(sent)
  expect(await call(await front.connect('s', PIN), 'echo', { text: 'later' })).toBe('echo: later')
  const heard = readFileSync(file, 'utf8')
  expect(heard).toContain('later')
  expect(heard).not.toContain('never')
})

test('what waits for its answer is kept, so that there is a most of it', async () => {
  await using front = startFront({ stdioWaitingBytesMax: 1_000 })
  front.add('s', mcp('2026'))
  const ask = (seconds: number, filler: number) => {
    const args = { seconds, filler: 'x'.repeat(filler) }
    const { message, headers } = stateless('tools/call', { name: 'slow', arguments: args })
    return front.post('s', message, headers)
  }
  expect((await ask(0, 100)).status).toBe(200)
  expect((await ask(0, 1_000)).status).toBe(429)
  const slow = ask(1, 100)
  const refused = await eventually(async () => {
    const answer = await ask(0, 500)
    return answer.status === 429 && answer
  })
  expect(await refused.json()).toMatchObject({ type: expect.stringContaining('too-many-calls') })
  await (await slow).text()
  expect((await ask(0, 500)).status).toBe(200)
})
