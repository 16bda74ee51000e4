import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { EventSource } from 'eventsource'
import OpenAI from 'openai'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startOpenAI } from '../support/upstreams/openai.ts'
import { startRaw } from '../support/upstreams/raw.ts'

const SOON_MS = 1_000

let node: TestNode
let chat: Awaited<ReturnType<typeof startOpenAI>>
let ending: Awaited<ReturnType<typeof startEvents>>
let endless: Awaited<ReturnType<typeof startEvents>>
let download: Awaited<ReturnType<typeof startRaw>>

beforeAll(async () => {
  chat = await startOpenAI()
  ending = await startEvents({ burst: 3, endAfter: 3, retryMs: 20 })
  endless = await startEvents({ burst: 3, retryMs: 20 })
  download = await startRaw((it) => {
    it.begin('200 OK', ['Content-Type: application/octet-stream'])
    it.chunk('begun')
  })
  node = await startNode()
  await node.addServer('chat', chat.url)
  await node.addServer('ending', ending.url)
  await node.addServer('endless', endless.url)
  await node.addServer('download', download.url)
})
afterAll(async () => {
  await node?.stop()
  chat?.stop()
  for (const upstream of [ending, endless, download]) upstream?.stop()
})

describe('openai', () => {
  const connect = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${node.gate}/s/chat/v1`, maxRetries: 0 })
  const messages = [{ role: 'user' as const, content: 'hello' }]

  test('gets every piece of a stream, and a whole answer', async () => {
    const client = connect((await node.createToken('openai', ['chat'])).token)
    let text = ''
    for await (const { choices } of await client.chat.completions.create({ model: 'm', stream: true, messages })) {
      text += choices[0]?.delta.content ?? ''
    }
    expect(text).toBe(chat.text)
    const whole = await client.chat.completions.create({ model: 'm', messages })
    expect(whole.choices[0]?.message.content).toBe(chat.text)
  })

  test('throws when it is cut, and takes no half answer for a whole one', async () => {
    const { id, token } = await node.createToken('openai, cut', ['chat'])
    const client = connect(token)
    const stream = await client.chat.completions.create({ model: 'held', stream: true, messages })
    let text = ''
    const failures: { at: number; error: unknown }[] = []
    const reading = (async () => {
      try {
        for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
      } catch (error) {
        failures.push({ at: performance.now(), error })
      }
    })()
    await eventually(() => text === chat.text.slice(0, text.length) && text.length > 6)
    await node.revoke({ tokens: [id] })
    const cutAt = performance.now()
    await reading
    const { at = Infinity, error } = failures[0] ?? {}
    expect(at - cutAt).toBeLessThan(SOON_MS)
    expect(error).toBeInstanceOf(OpenAI.APIError)
    expect(error).toMatchObject({ error: { type: 'token_revoked' } })
    expect(text.length).toBeLessThan(chat.text.length)
    await eventually(() => chat.requests.every((it) => it.model !== 'held' || it.cancelledAt !== null), {
      timeoutMs: SOON_MS,
    })
    const next = client.chat.completions.create({ model: 'm', messages })
    expect(await next.catch((refusal: unknown) => refusal)).toBeInstanceOf(OpenAI.AuthenticationError)
  })
})

describe('eventsource', () => {
  const connect = (server: string, token: string) =>
    new EventSource(`${node.gate}/s/${server}/x`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...bearer(token) } }),
    })

  test('reconnects with Last-Event-ID after the upstream ended its stream', async () => {
    const { token } = await node.createToken('eventsource', ['ending'])
    const source = connect('ending', token)
    const seen: string[] = []
    source.addEventListener('message', ({ lastEventId }) => seen.push(lastEventId))
    await eventually(() => seen.length >= 9)
    source.close()
    expect(seen.slice(0, 9)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9'])
    expect(ending.streams.slice(0, 3).map(({ lastEventId }) => lastEventId)).toEqual([null, '3', '6'])
  })

  test('after a revocation it meets the 401 once, and stops', async () => {
    const { id, token } = await node.createToken('eventsource, cut', ['endless'])
    const source = connect('endless', token)
    const errors: (number | undefined)[] = []
    const disconnects: string[] = []
    let messages = 0
    source.addEventListener('error', ({ code }) => errors.push(code))
    source.addEventListener('message', () => (messages += 1))
    source.addEventListener('disconnect', ({ data }) => disconnects.push(data as string))
    await eventually(() => messages === 3)
    await node.revoke({ tokens: [id] })
    await eventually(() => source.readyState === source.CLOSED, { timeoutMs: 2 * SOON_MS })
    expect(errors.at(-1)).toBe(401)
    expect(errors.filter((code) => code === 401)).toHaveLength(1)
    expect(disconnects.map((data) => JSON.parse(data) as unknown)).toMatchObject([{ error: { type: 'token_revoked' } }])
    expect(messages).toBe(3)
    expect(endless.streams).toHaveLength(1)
  })

  test('after a kill it comes back and goes on where it was', async () => {
    const { token } = await node.createToken('eventsource, killed', ['endless'])
    const source = connect('endless', token)
    const seen: string[] = []
    source.addEventListener('message', ({ lastEventId }) => seen.push(lastEventId))
    await eventually(() => seen.length === 3)
    await node.api('DELETE', '/servers/endless/connections')
    await eventually(() => seen.length === 6)
    source.close()
    expect(seen).toEqual(['1', '2', '3', '4', '5', '6'])
  })
})

describe('curl', () => {
  const curl = (target: string, token: string) => {
    const child = Bun.spawn(
      ['curl', '-sSN', '--max-time', '20', '-H', `Authorization: Bearer ${token}`, node.gate + target],
      { stdout: 'pipe', stderr: 'pipe' },
    )
    let out = ''
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of child.stdout) out += decoder.decode(chunk, { stream: true })
    })()
    return { out: () => out, exited: Promise.all([child.exited, reading]).then(([code]) => code) }
  }

  test.each([
    ['/s/endless/x', /"n":3/, 0, /event: disconnect\ndata: .*token_revoked.*\n\n$/],
    // 18: the transfer was shorter than announced; 56: the connection was reset.
    ['/s/download/x', /^begun$/, [18, 56], /^begun$/],
  ] as const)('%s ends when it is cut', async (target, begun, code, ending) => {
    const { id, token } = await node.createToken(`curl ${target}`, ['endless', 'download'])
    const running = curl(target, token)
    await eventually(() => begun.test(running.out()))
    await node.revoke({ tokens: [id] })
    const cutAt = performance.now()
    expect(await running.exited).toBeOneOf([code].flat())
    expect(performance.now() - cutAt).toBeLessThan(SOON_MS)
    expect(running.out()).toMatch(ending)
  })
})
