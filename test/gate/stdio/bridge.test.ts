import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { eventually } from '../../support/poll.ts'
import { removeFolder, tempFolder } from '../../support/temp.ts'
import { initialize, mcp, problemOf, reading, startBridge, toolCall } from './bridged.ts'
import { isAlive, raw } from './supervised.ts'

const gone = (pid: number) => eventually(() => !isAlive(pid), { what: `${pid} is gone` })

describe('what starts no process', () => {
  const cases: [what: string, method: string, sending: object, status: number][] = [
    ['another path', 'POST', { path: '/other', body: initialize() }, 404],
    ['another path below', 'GET', { path: '/mcp/other' }, 404],
    ['a GET that takes no events', 'GET', { headers: { accept: '*/*' } }, 406],
    ['the same for HTTP+SSE', 'GET', { path: '/sse', headers: { accept: 'text/html' } }, 406],
    ['a POST to the stream of HTTP+SSE', 'POST', { path: '/sse', body: initialize() }, 405],
    ['a GET of the endpoint of HTTP+SSE', 'GET', { path: '/messages?sessionId=x' }, 405],
    ['a message for no stream', 'POST', { path: '/messages?sessionId=x', body: toolCall(1, 'x') }, 404],
    ['a method that MCP has not', 'PUT', { body: initialize() }, 405],
    ['HEAD', 'HEAD', {}, 405],
    ['a DELETE of nothing', 'DELETE', {}, 400],
    ['a session that never was', 'POST', { headers: { 'mcp-session-id': 'x' }, body: toolCall(1, 'x') }, 404],
    ['its GET', 'GET', { headers: { 'mcp-session-id': 'x' } }, 404],
    ['a stream to resume of no session', 'GET', { headers: { 'last-event-id': '1-x' } }, 400],
    ['a call before initialize', 'POST', { body: toolCall(1, 'x') }, 400],
    ['what is no JSON', 'POST', { body: '{"jsonrpc":' }, 400],
    ['what is nested too deep', 'POST', { body: `${'['.repeat(201)}${']'.repeat(201)}` }, 400],
    ['an id that is too long to be kept', 'POST', { body: { ...initialize(), id: 'x'.repeat(1_001) } }, 400],
    ['such a progress token', 'POST', { body: [toolCall(1, 'x', {}, 'x'.repeat(1_001))] }, 400],
    ['what holds too many values', 'POST', { body: `[${'1,'.repeat(250_000)}1]` }, 400],
    ['an empty batch', 'POST', { body: [] }, 400],
    [
      'an initialize that takes no events',
      'POST',
      { body: initialize(), headers: { accept: 'application/json' } },
      406,
    ],
    ['another type', 'POST', { body: initialize(), headers: { 'content-type': 'text/plain' } }, 415],
  ]
  test.each(cases)('%s', async (_, method, sending, status) => {
    await using all = startBridge()
    const server = all.add('echo', mcp())
    const answer = await all.send(server, all.caller('a'), method, sending)
    expect(answer.status).toBe(status)
    if (status === 405) expect(answer.headers.get('allow')).toBeTruthy()
    if (method !== 'HEAD') expect(await answer.json()).toMatchObject({ jsonrpc: '2.0', id: null })
    expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, startedInAll: 0 })
  })

  test('a body past what is taken', async () => {
    await using all = startBridge({ stdioBodyBytesMax: 1_000 })
    const server = all.add('echo', mcp())
    const body = toolCall(1, 'x'.repeat(1_000))
    expect(await problemOf(all.send(server, all.caller('a'), 'POST', { body }))).toMatchObject({ status: 413 })
    expect(all.supervisor.statusOf(server).startedInAll).toBe(0)
  })
})

describe('a session', () => {
  test('serves the token that opened it, at the server where it did', async () => {
    await using all = startBridge()
    const [server, other] = [all.add('one', mcp()), all.add('two', mcp())]
    const [owner, stranger] = [all.caller('owner'), all.caller('stranger')]
    const session = await all.open(server, owner)
    expect(await session.call('count')).toBe('1')
    const headers = { 'mcp-session-id': session.id }
    for (const [at, by] of [
      [server, stranger],
      [server, null],
      [other, owner],
    ] as const) {
      for (const method of ['POST', 'GET', 'DELETE']) {
        const body = method === 'POST' ? toolCall(1, 'count') : undefined
        expect((await all.send(at, by, method, { headers, body })).status).toBe(404)
      }
    }
    expect(await session.call('count')).toBe('2')
    expect(all.over).toEqual([])
  })

  test('has a process of its own, which DELETE ends', async () => {
    await using all = startBridge()
    const server = all.add('one', mcp())
    const [first, second] = [await all.open(server, all.caller('a')), await all.open(server, all.caller('a2'))]
    const [pid, other] = [await first.pid(), await second.pid()]
    expect(pid).not.toBe(other)
    expect((await first.send('DELETE')).status).toBe(200)
    expect((await first.send('POST', { body: toolCall(1, 'echo') })).status).toBe(404)
    await gone(pid)
    expect(all.over).toEqual([first.id])
    expect(isAlive(other)).toBeTrue()
    expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 0 })
  })

  test('ends when nobody used it for long, but not while a stream is open', async () => {
    await using all = startBridge()
    const server = all.add('one', mcp(), { exactIdleMs: 300 })
    const [idle, watching] = [await all.open(server, all.caller('a')), await all.open(server, all.caller('b'))]
    const stream = reading(await watching.send('GET'))
    const running = () => all.supervisor.statusOf(server).processes
    await eventually(() => running() === 1)
    expect(all.over).toEqual([idle.id])
    expect((await idle.send('POST', { body: toolCall(1, 'echo') })).status).toBe(404)
    expect(await watching.call('echo', { text: 'on' })).toBe('echo: on')
    await stream.leave()
    await eventually(() => running() === 0)
    expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 0 })
  })

  test('takes no more calls than may wait for an answer', async () => {
    await using all = startBridge({ rpcIdsMax: 2 })
    const session = await all.open(all.add('one', mcp()), all.caller('a'))
    const calls = await Promise.all(
      [1, 2].map((id) => session.send('POST', { body: toolCall(id, 'slow', { seconds: 30 }) })),
    )
    expect(await problemOf(session.send('POST', { body: toolCall(3, 'echo') }))).toMatchObject({ status: 429 })
    for (const requestId of [1, 2])
      await session.send('POST', { body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } } })
    // Those that were cancelled are none of them any more, whether their streams are open or not.
    await calls[0]?.body?.cancel()
    expect(await session.call('echo', { text: 'on' })).toBe('echo: on')
    await calls[1]?.body?.cancel()
    expect(await session.call('echo', { text: 'on' })).toBe('echo: on')
  })

  test('whose process does not read is told so', async () => {
    await using all = startBridge({ stdioInputBytesMax: 300_000 })
    // Answers `initialize`, and reads no more.
    const script = `read -r line; echo '{"jsonrpc":"2.0","id":"init","result":{}}'; exec sleep 60`
    const session = await all.open(all.add('deaf', ['sh', '-c', script]), all.caller('a'))
    const text = 'x'.repeat(200_000)
    const answers = await Promise.all(
      [1, 2, 3, 4].map(async (id) => reading(await session.send('POST', { body: toolCall(id, 'echo', { text }) }))),
    )
    await eventually(() => answers.some(({ messages }) => messages.length > 0))
    const refused = answers.flatMap(({ messages }) => messages)
    for (const { error } of refused) expect(error).toMatchObject({ code: -32603 })
    await session.send('DELETE')
  })
})

describe('a start', () => {
  test('that takes too long ends the process', async () => {
    await using all = startBridge({ stdioStartMs: 400 })
    const server = all.add('slow', mcp('start=60000'))
    const answer = all.send(server, all.caller('a'), 'POST', { body: initialize() })
    expect(await problemOf(answer)).toMatchObject({ status: 504, slug: 'server-start-timeout' })
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    expect(all.over.length).toBe(1)
  })

  test('of what exits says how', async () => {
    await using all = startBridge()
    const server = all.add('exits', mcp('exit=3'))
    const answer = all.send(server, all.caller('a'), 'POST', { body: initialize() })
    const problem = await problemOf(answer)
    expect(problem).toMatchObject({ status: 502, slug: 'server-exited' })
    expect(problem.detail).toContain('exit code 3')
    expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, crashes: 1 })
    // And then it is not started again at once.
    const next = all.send(server, all.caller('a2'), 'POST', { body: initialize() })
    expect(await problemOf(next)).toMatchObject({ status: 503, slug: 'server-restarting' })
  })

  test('whose client is refused leaves no session', async () => {
    await using all = startBridge()
    const error = `{"jsonrpc":"2.0","id":"init","error":{"code":-32602,"message":"not you"}}`
    const server = all.add('refuses', ['sh', '-c', `read -r line; echo '${error}'; exec sleep 60`])
    const answer = await all.send(server, all.caller('a'), 'POST', { body: initialize() })
    expect(answer.headers.get('mcp-session-id')).toBeNull()
    expect(await reading(answer).ended).toMatchObject([{ id: 'init', error: { code: -32602, message: 'not you' } }])
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    expect(all.supervisor.statusOf(server).crashes).toBe(0)
  })

  test('that its client gives up ends the process', async () => {
    await using all = startBridge()
    const server = all.add('slow', mcp('start=60000'))
    const leaving = new AbortController()
    const answer = all.send(server, all.caller('a'), 'POST', { body: initialize(), signal: leaving.signal })
    answer.catch(() => undefined)
    await eventually(() => all.supervisor.statusOf(server).processes === 1)
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    expect(all.supervisor.statusOf(server).crashes).toBe(0)
  })

  test('that its client gives up while the process is made ready', async () => {
    await using all = startBridge()
    // Whether the sandbox works is tried first, which takes some turns of the loop.
    const server = all.add('boxed', ['cat'], { sandbox: true })
    const leaving = new AbortController()
    const answer = all.send(server, all.caller('a'), 'POST', { body: initialize(), signal: leaving.signal })
    answer.catch(() => undefined)
    await eventually(() => all.registry.size === 1, { everyMs: 0 })
    expect(all.supervisor.statusOf(server).processes).toBe(0)
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    expect(all.registry.size).toBe(0)
    expect(all.over).toEqual([])
  })

  test('whose answer nobody reads ends the process', async () => {
    await using all = startBridge()
    const server = all.add('one', mcp())
    const answer = await all.send(server, all.caller('a'), 'POST', { body: initialize() })
    await answer.body?.cancel()
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    expect(all.over.length).toBe(1)
  })

  test('that was cut meanwhile: not a byte goes to the process', async () => {
    await using all = startBridge()
    await using folder = { path: tempFolder(), [Symbol.asyncDispose]: async () => removeFolder(folder.path) }
    const heard = join(folder.path, 'heard')
    const server = all.add('records', ['sh', '-c', `: > ${heard}; exec cat > ${heard}`])
    const caller = all.caller('a')
    const { supervisor, registry } = all
    const start = supervisor.start.bind(supervisor)
    // The process runs, and nothing was written to it: no timer hits that moment by chance.
    supervisor.start = async (...args) => {
      const lease = await start(...args)
      expect(registry.cut(registry.ofToken(caller.token.id), 'token_revoked').cut).toBe(1)
      return lease
    }
    await expect(all.send(server, caller, 'POST', { body: initialize() })).rejects.toThrow()
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
    const file = Bun.file(heard)
    expect((await file.exists()) ? await file.text() : '').toBe('')
  })
})

describe('a process that dies', () => {
  test('answers all that is in flight, and its session is gone', async () => {
    await using all = startBridge()
    const server = all.add('one', mcp())
    const session = await all.open(server, all.caller('a'))
    const stream = reading(await session.send('GET'))
    const slow = reading(await session.send('POST', { body: toolCall('s', 'slow', { seconds: 30 }) }))
    const cancelled = reading(await session.send('POST', { body: toolCall('c', 'slow', { seconds: 30 }) }))
    await session.send('POST', {
      body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'c' } },
    })
    const exit = reading(await session.send('POST', { body: toolCall(7, 'exit', { code: 9 }) }))
    const error = {
      code: -32082,
      message: 'The server exited: exit code 9',
      data: { type: 'server_exited' },
    }
    expect(await slow.ended).toEqual([{ jsonrpc: '2.0', id: 's', error }] as never)
    expect(await exit.ended).toEqual([{ jsonrpc: '2.0', id: 7, error }] as never)
    expect(await stream.ended).toEqual([])
    // Nobody waits for it any more.
    expect((await cancelled.ended).filter(({ error: said }) => said)).toEqual([])
    expect((await session.send('POST', { body: toolCall(8, 'echo') })).status).toBe(404)
    expect((await session.send('GET')).status).toBe(404)
    expect(all.over).toEqual([session.id])
    expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 1, lastCrash: { detail: 'exit code 9' } })
  })

  test('takes no other session with it', async () => {
    await using all = startBridge()
    const server = all.add('one', mcp())
    const [one, two] = [await all.open(server, all.caller('a')), await all.open(server, all.caller('b'))]
    expect(await one.call('kill')).toBeUndefined()
    expect(await two.call('echo', { text: 'still' })).toBe('echo: still')
  })
})

describe('a client that does not read', () => {
  const residentBytes = async () => Number((await Bun.file('/proc/self/statm').text()).split(' ')[1]) * 4096

  test('makes its server wait: memory stays flat, other sessions go on, and nothing is lost', async () => {
    await using all = startBridge()
    const server = all.add('floods', mcp())
    const [slow, other] = [await all.open(server, all.caller('a')), await all.open(server, all.caller('b'))]
    const before = await residentBytes()
    const messages = 4_000
    // 256 MB in all.
    const answer = await slow.send('POST', { body: toolCall(1, 'flood', { messages, bytes: 64_000 }) })
    let most = 0
    for (let round = 0; round < 40; round += 1) {
      expect(await other.call('echo', { text: `${round}` })).toBe(`echo: ${round}`)
      most = Math.max(most, (await residentBytes()) - before)
      await Bun.sleep(20)
    }
    expect(most).toBeLessThan(96 * 1024 * 1024)
    const said = await reading(answer).ended
    expect(said.length).toBe(messages + 1)
    for (const [index, { params }] of said.slice(0, -1).entries()) expect(params.data).toStartWith(`${index}:`)
    expect(said.at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'flooded' }] } })
  }, 60_000)

  test('and leaves: its server goes on', async () => {
    await using all = startBridge()
    const session = await all.open(all.add('floods', mcp()), all.caller('a'))
    const answer = await session.send('POST', { body: toolCall(1, 'flood', { messages: 200, bytes: 64_000 }) })
    await Bun.sleep(100)
    await answer.body?.cancel()
    expect(await session.call('echo', { text: 'on' })).toBe('echo: on')
  })
})

describe('HTTP+SSE', () => {
  const openOld = async (all: ReturnType<typeof startBridge>, command: string[], path = '/sse') => {
    const server = all.add('old', command)
    const by = all.caller('a')
    const response = await all.send(server, by, 'GET', { path })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const stream = reading(response)
    await eventually(() => stream.events.length > 0)
    const [endpoint] = stream.events
    expect(endpoint?.name).toBe('endpoint')
    expect(endpoint?.data).toMatch(/^\/messages\?sessionId=[\w-]{22}$/)
    const say = (body: unknown, from = by) => all.send(server, from, 'POST', { path: endpoint?.data ?? '', body })
    return { server, stream, say }
  }

  test.each(['/sse', '/', '/mcp', '/sse/'])('opens at %s, answers on the stream, and lasts as long', async (path) => {
    await using all = startBridge()
    const { server, stream, say } = await openOld(all, mcp(), path)
    expect((await say(initialize('2024-11-05'))).status).toBe(202)
    await eventually(() => stream.messages.length === 1)
    expect((await say({ jsonrpc: '2.0', method: 'notifications/initialized' })).status).toBe(202)
    expect((await say(toolCall(1, 'pid'))).status).toBe(202)
    await eventually(() => stream.messages.length === 2)
    expect((await say(toolCall(2, 'echo'), all.caller('stranger'))).status).toBe(404)
    expect((await say({ no: 'message' })).status).toBe(400)
    await stream.leave()
    await gone(Number(stream.messages[1]?.result.content[0].text))
    expect((await say(toolCall(3, 'echo'))).status).toBe(404)
    expect(stream.messages.map(({ id }) => id)).toEqual(['init', 1])
    expect(all.over.length).toBe(1)
    expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, crashes: 0 })
  })

  test('a process that dies answers what is in flight, and the stream ends', async () => {
    await using all = startBridge()
    const { stream, say } = await openOld(all, mcp())
    await say(initialize('2024-11-05'))
    await eventually(() => stream.messages.length === 1)
    await say(toolCall(1, 'slow', { seconds: 30 }))
    await say(toolCall(2, 'exit', { code: 9 }))
    const said = (await stream.ended).slice(1)
    expect(said.map(({ id, error }) => [id, error.code, error.message])).toEqual([
      [1, -32082, 'The server exited: exit code 9'],
      [2, -32082, 'The server exited: exit code 9'],
    ])
  })

  test('takes no more calls than may wait for an answer', async () => {
    await using all = startBridge({ rpcIdsMax: 2 })
    const { stream, say } = await openOld(all, mcp())
    await say(initialize('2024-11-05'))
    await eventually(() => stream.messages.length === 1)
    for (const id of [1, 2]) expect((await say(toolCall(id, 'slow', { seconds: 30 }))).status).toBe(202)
    expect(await problemOf(say(toolCall(3, 'echo')))).toMatchObject({ status: 429 })
    await say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
    await say(toolCall(4, 'echo', { text: 'on' }))
    await eventually(() => stream.messages.some(({ id }) => id === 4))
    await stream.leave()
  })

  test('a start that takes too long is told on the stream', async () => {
    await using all = startBridge({ stdioStartMs: 300 })
    const { server, stream, say } = await openOld(all, mcp('start=60000'))
    await say(initialize('2024-11-05'))
    expect(await stream.ended).toMatchObject([{ id: 'init', error: { code: -32082 } }])
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
  })

  test('a client that does not read makes its server wait', async () => {
    await using all = startBridge({ stdioUnreadBytesMax: 10_000 })
    const server = all.add('floods', raw('flood', '1000'))
    const response = await all.send(server, all.caller('a'), 'GET', { path: '/sse' })
    const first = reading(response)
    await eventually(() => first.messages.length > 1_000)
    expect(first.messages.slice(0, 1_000).map(({ params }) => params.n)).toEqual(
      [...Array(1_000).keys()].map((n) => n + (first.messages[0]?.params.n ?? 0)),
    )
    await first.leave()
    await eventually(() => all.supervisor.statusOf(server).processes === 0)
  })
})
