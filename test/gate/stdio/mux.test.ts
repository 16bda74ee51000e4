import { expect, test } from 'bun:test'
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, Transport } from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { Mux, type Port } from '../../../src/gate/stdio/mux.ts'

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'

/** A process that writes down what it gets. */
class FakeProcess implements Transport {
  onmessage?: Transport['onmessage']
  onclose?: Transport['onclose']
  readonly got: JSONRPCMessage[] = []
  deaf = false

  async start() {}

  async send(message: JSONRPCMessage) {
    if (this.deaf) throw new Error('it takes nothing more')
    this.got.push(JSON.parse(JSON.stringify(message)) as JSONRPCMessage)
  }

  async close() {
    this.onclose?.()
  }

  say(message: object) {
    this.onmessage?.({ jsonrpc: '2.0', ...message } as JSONRPCMessage)
  }

  get last(): JSONRPCRequest {
    return this.got.at(-1) as JSONRPCRequest
  }
}

const setup = () => {
  const process = new FakeProcess()
  const unrouted: JSONRPCNotification[] = []
  const mux = new Mux(process, (message) => unrouted.push(message))
  const open = () => {
    const port = mux.open()
    const heard: JSONRPCMessage[] = []
    port.onmessage = (message) => heard.push(message)
    return { port, heard }
  }
  return { process, mux, unrouted, open }
}

const call = (id: string | number, params?: Record<string, unknown>): JSONRPCRequest => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  ...(params && { params }),
})

test('two clients that use one id get each its own answer, and its own id as it was', async () => {
  const { process, open, mux } = setup()
  const [one, two, three] = [open(), open(), open()]
  await one.port.send(call(1, { name: 'a' }))
  const first = process.last
  await two.port.send(call(1, { name: 'b' }))
  const second = process.last
  await three.port.send(call('1', { name: 'c' }))
  const third = process.last
  expect(new Set([first.id, second.id, third.id]).size).toBe(3)
  expect(first.params).toEqual({ name: 'a' })
  process.say({ id: third.id, result: { of: 'c' } })
  process.say({ id: second.id, error: { code: -1, message: 'of b' } })
  process.say({ id: first.id, result: { of: 'a' } })
  // A second answer belongs to nobody.
  process.say({ id: first.id, result: { of: 'a again' } })
  expect(one.heard).toEqual([{ jsonrpc: '2.0', id: 1, result: { of: 'a' } }])
  expect(two.heard).toEqual([{ jsonrpc: '2.0', id: 1, error: { code: -1, message: 'of b' } }])
  expect(three.heard).toEqual([{ jsonrpc: '2.0', id: '1', result: { of: 'c' } }])
  for (const { port } of [one, two, three]) await port.close()
  expect(mux.size).toBe(0)
})

test('progress goes to who asked for it, under the token that it chose, until the answer', async () => {
  const { process, open } = setup()
  const [one, two, three] = [open(), open(), open()]
  await one.port.send(call(7, { name: 'a', _meta: { progressToken: 't', other: 1 } }))
  const first = process.last
  await two.port.send(call(7, { _meta: { progressToken: 0 } }))
  const second = process.last
  await three.port.send(call(8))
  const third = process.last
  expect(first.params).toEqual({ name: 'a', _meta: { progressToken: first.id, other: 1 } })
  const progress = (progressToken: unknown, progress: number) =>
    process.say({ method: 'notifications/progress', params: { progressToken, progress } })
  progress(first.id, 1)
  progress(second.id, 2)
  // It asked for none; and these are nobody's.
  progress(third.id, 3)
  progress('t', 4)
  progress(String(first.id), 5)
  process.say({ id: first.id, result: {} })
  progress(first.id, 6)
  expect(one.heard).toEqual([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 't', progress: 1 } },
    { jsonrpc: '2.0', id: 7, result: {} },
  ])
  expect(two.heard).toEqual([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 0, progress: 2 } },
  ])
  expect(three.heard).toEqual([])
})

test('a subscription is known to its client by its own id, and ends for it alone', async () => {
  const { process, open } = setup()
  const [one, two] = [open(), open()]
  const listen = (port: Port) => port.send({ jsonrpc: '2.0', id: 'mine', method: 'subscriptions/listen', params: {} })
  await listen(one.port)
  const first = process.last
  await listen(two.port)
  const second = process.last
  const changed = (id: unknown) =>
    process.say({ method: 'notifications/tools/list_changed', params: { _meta: { [SUBSCRIPTION]: id, x: 1 } } })
  changed(first.id)
  changed('mine')
  expect(one.heard).toEqual([
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: { [SUBSCRIPTION]: 'mine', x: 1 } } },
  ])
  expect(two.heard).toEqual([])
  process.say({ method: 'notifications/cancelled', params: { requestId: second.id } })
  expect(two.heard).toEqual([{ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'mine' } }])
  process.say({ id: first.id, result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: first.id } } })
  expect(one.heard.at(-1)).toEqual({
    jsonrpc: '2.0',
    id: 'mine',
    result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'mine' } },
  })
})

test('a client gives up only what is its own', async () => {
  const { process, open } = setup()
  const [one, two] = [open(), open()]
  const cancel = (port: Port, requestId: string | number) =>
    port.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId, reason: 'why' } })
  await one.port.send(call(1))
  const first = process.last
  await cancel(two.port, 1)
  await cancel(two.port, first.id)
  await cancel(one.port, '1')
  expect(process.last).toBe(process.got[0] as JSONRPCRequest)
  await cancel(one.port, 1)
  expect(process.last as JSONRPCMessage).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/cancelled',
    params: { requestId: first.id, reason: 'why' },
  })
  // Answered all the same: nobody hears of it.
  process.say({ id: first.id, result: {} })
  expect(one.heard).toEqual([])
})

test('who goes cancels what it asked for, and hears nothing more; the others go on', async () => {
  const { process, open, mux } = setup()
  const [one, two] = [open(), open()]
  await one.port.send(call('a'))
  const first = process.last
  await two.port.send(call('a'))
  const second = process.last
  await one.port.close()
  expect(process.got.slice(2)).toEqual([
    {
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params: { requestId: first.id, reason: 'The client is gone' },
    },
  ])
  process.say({ id: first.id, result: {} })
  process.say({ id: second.id, result: {} })
  expect(one.heard).toEqual([])
  expect(two.heard).toEqual([{ jsonrpc: '2.0', id: 'a', result: {} }])
  await expect(one.port.send(call(2))).rejects.toThrow('closed')
  await two.port.close()
  expect(mux.size).toBe(0)
})

test('the process may ask nobody anything', async () => {
  const { process, open } = setup()
  const { port, heard } = open()
  process.say({ id: 1, method: 'sampling/createMessage', params: {} })
  process.say({ id: 'p', method: 'ping' })
  expect(process.got).toMatchObject([
    { id: 1, error: { code: -32601 } },
    { id: 'p', result: {} },
  ])
  expect(heard).toEqual([])
  // And no client may answer in the name of the gate.
  await port.send({ jsonrpc: '2.0', id: 1, result: { forged: true } })
  await port.send({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } })
  expect(process.got.length).toBe(2)
})

test('only one waits, or not', async () => {
  const { process, open, mux } = setup()
  const [one, two] = [open(), open()]
  expect(mux.onlyWaiting).toBeNull()
  await one.port.send(call(1))
  await one.port.send(call(2))
  expect(mux.onlyWaiting).toBe(one.port)
  await two.port.send({ jsonrpc: '2.0', id: 3, method: 'subscriptions/listen' })
  expect(mux.onlyWaiting).toBe(one.port)
  await two.port.send(call(4))
  expect(mux.onlyWaiting).toBeNull()
  for (const { id } of process.got.slice(0, 2) as JSONRPCRequest[]) process.say({ id, result: {} })
  expect(mux.onlyWaiting).toBe(two.port)
})

test('what the process does not take is not remembered', async () => {
  const { process, open, mux } = setup()
  const { port } = open()
  process.deaf = true
  await expect(port.send(call(1))).rejects.toThrow('takes nothing more')
  await port.close()
  expect(mux.size).toBe(0)
})

test('the end of the process closes every port, once, and asking ends too', async () => {
  const { process, open, mux } = setup()
  const { port } = open()
  let closed = 0
  port.onclose = () => (closed += 1)
  const asked = mux.ask('initialize', {}, AbortSignal.timeout(60_000))
  await process.close()
  await port.close()
  await expect(asked).rejects.toThrow('ended')
  expect(closed).toBe(1)
  expect(mux.size).toBe(0)
})

test('asking on its own behalf ends with the answer, or when it has waited enough', async () => {
  const { process, mux } = setup()
  const asked = mux.ask('initialize', { a: 1 }, AbortSignal.timeout(60_000))
  expect(process.last).toMatchObject({ method: 'initialize', params: { a: 1 } })
  process.say({ id: process.last.id, result: { yes: true } })
  expect(await asked).toMatchObject({ result: { yes: true } })
  const stop = new AbortController()
  const waited = mux.ask('server/discover', {}, stop.signal)
  stop.abort(new Error('enough'))
  await expect(waited).rejects.toThrow('enough')
  await waited.catch(() => undefined)
  expect(mux.size).toBe(0)
})

// What happens: a client comes or goes, asks, gives up; the process tells progress, of subscriptions, answers, lies.

const ID = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('1', '2', '-1', 'x', ''))
const STEP = fc.oneof(
  { weight: 1, arbitrary: fc.record({ do: fc.constant('open' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), client: fc.nat() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      client: fc.nat(),
      id: ID,
      token: fc.option(ID, { nil: undefined }),
      listens: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), client: fc.nat(), id: ID }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('progress' as const), request: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('notify' as const), request: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), request: fc.nat(), fails: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lie' as const), id: ID }) },
)

test('whatever happens, no message reaches a port that it does not belong to, ids come back, nothing is left', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { maxLength: 60 }), async (steps) => {
      const { process, open, mux } = setup()
      const clients: (ReturnType<typeof open> & {
        open: boolean
        asked: Map<string, unknown>
        answered: Set<string>
      })[] = []
      let marks = 0
      const requests = () => process.got.filter((message): message is JSONRPCRequest => 'id' in message)
      const pick = <T>(from: readonly T[], at: number): T | undefined => from[at % Math.max(1, from.length)]
      /** A request as the process sees it carries its mark, and so does all that the process says about it. */
      const markOf = (request: JSONRPCRequest) => (request.params as { mark: string }).mark
      for (const step of steps) {
        const client = 'client' in step ? pick(clients, step.client) : undefined
        const request = 'request' in step ? pick(requests(), step.request) : undefined
        if (step.do === 'open') {
          clients.push({ ...open(), open: true, asked: new Map(), answered: new Set() })
        } else if (step.do === 'close' && client) {
          client.open = false
          await client.port.close()
        } else if (step.do === 'ask' && client?.open) {
          marks += 1
          const mark = `${clients.indexOf(client)}:${marks}`
          const { id, token } = step
          client.asked.set(mark, { id, token })
          const method = step.listens ? 'subscriptions/listen' : 'tools/call'
          const meta = token === undefined ? {} : { _meta: { progressToken: token } }
          await client.port.send({ jsonrpc: '2.0', id, method, params: { mark, ...meta } })
        } else if (step.do === 'cancel' && client?.open) {
          const before = requests().length
          const params = { requestId: step.id }
          await client.port.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
          expect(requests().length).toBe(before)
        } else if (step.do === 'progress' && request) {
          const params = { progressToken: request.id, mark: markOf(request) }
          process.say({ method: 'notifications/progress', params })
        } else if (step.do === 'notify' && request) {
          const params = { mark: markOf(request), _meta: { [SUBSCRIPTION]: request.id } }
          process.say({ method: 'notifications/tools/list_changed', params })
        } else if (step.do === 'answer' && request) {
          const mark = markOf(request)
          if (step.fails) process.say({ id: request.id, error: { code: -1, message: mark } })
          else process.say({ id: request.id, result: { mark } })
        } else if (step.do === 'lie') {
          const { id } = step
          // What the process makes up may hit a request by chance only as a number that is in use.
          if (typeof id === 'number' && id > 0) continue
          process.say({ id, result: { mark: 'lie' } })
          process.say({ method: 'notifications/progress', params: { progressToken: id, mark: 'lie' } })
        }
      }
      for (const [index, client] of clients.entries()) {
        for (const message of client.heard as unknown as Record<string, unknown>[]) {
          const said = (message['params'] ?? message['result'] ?? message['error']) as Record<string, unknown>
          const mark = String(said['mark'] ?? said['message'])
          expect(mark.split(':')[0]).toBe(String(index))
          const { id, token } = client.asked.get(mark) as { id: unknown; token: unknown }
          const meta = said['_meta'] as Record<string, unknown> | undefined
          if (meta) expect(meta[SUBSCRIPTION]).toBe(id as never)
          if (message['method'] === 'notifications/progress') expect(said['progressToken']).toBe(token as never)
          if ('method' in message) expect(client.answered.has(mark)).toBe(false)
          else {
            expect(message['id']).toBe(id as never)
            expect(client.answered.has(mark)).toBe(false)
            client.answered.add(mark)
          }
        }
        await client.port.close()
      }
      expect(mux.size).toBe(0)
      // All that is unanswered at the end was given up in the process too, and no more than that.
      const cancels = process.got.filter((message) => 'method' in message && message.method.endsWith('/cancelled'))
      const answered = clients.reduce((sum, client) => sum + client.answered.size, 0)
      expect(cancels.length + answered).toBe(requests().length)
    }),
    { numRuns: 300 },
  )
})
