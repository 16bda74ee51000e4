import { eventually } from '../support/poll.ts'
import { ask, connectRaw, open, type RawClient } from '../support/raw.ts'
import type { RawUpstreamRequest } from '../support/upstreams/raw.ts'
import { OVER_MS, type WireGround } from './wire-ground.ts'

/** Clients that are slow, stop, never end what they begin, or come and go. */

const EVENT_STREAM = ['Content-Type: text/event-stream']
const event = (number: number, bytes: number): string => `id: ${number}\ndata: ${'x'.repeat(bytes)}\n\n`

/** Says events as fast as they are taken; `bytesMax`, and then the end. */
const torrent = (request: RawUpstreamRequest, bytesMax = Infinity): void => {
  request.begin('200 OK', EVENT_STREAM)
  let said = 0
  let number = 0
  const run = (): void => {
    while (request.socket.writable && said < bytesMax) {
      const text = event((number += 1), 4_000)
      said += text.length
      if (!request.chunk(text)) return
    }
    if (said >= bytesMax && !request.answered) request.lastChunk()
  }
  request.socket.on('drain', run)
  run()
}

/** Readers that take a little now and then get everything, and in order. */
export const slowReaders = async (ground: WireGround): Promise<void> => {
  const bytes = ground.many(1_000_000, 8_000_000)
  const path = ground.path((request) => torrent(request, bytes))
  const { headers } = await ground.token()
  const readers = await Promise.all(Array.from({ length: 10 }, () => open(ground.node.gate, { target: path, headers })))
  try {
    const slow = setInterval(() => {
      for (const reader of readers)
        if (ground.random.chance(0.5)) reader.pause()
        else reader.resume()
    }, 5)
    await eventually(() => readers.every(({ complete }) => complete), { timeoutMs: OVER_MS }).finally(() =>
      clearInterval(slow),
    )
    for (const reader of readers) {
      const numbers = [...reader.text.matchAll(/^id: (\d+)$/gm)].map(([, number]) => Number(number))
      if (numbers.length === 0 || numbers.some((number, at) => number !== at + 1))
        ground.wrong('a slow reader lost events')
    }
    ground.count('slow readers', readers.length)
    ground.count(
      'bytes to slow readers',
      readers.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0),
    )
  } finally {
    for (const reader of readers) reader[Symbol.dispose]()
  }
}

/** What the gate and the runtime may hold for a reader that takes nothing: a few chunks of the upstream's. */
const HELD_BYTES_MAX = 1024 * 1024

/** Readers that stop are held back: memory stays flat, and a kill resets them and frees everything. */
export const stoppedReaders = async (ground: WireGround): Promise<void> => {
  const upstreams: RawUpstreamRequest[] = []
  const path = ground.path((request) => {
    upstreams.push(request)
    torrent(request)
  })
  const { id, headers } = await ground.token()
  const readers = await Promise.all(
    Array.from({ length: ground.many(30, 80) }, () => open(ground.node.gate, { target: path, headers })),
  )
  try {
    await Promise.all(readers.map((reader) => reader.until(({ bodyBytes }) => bodyBytes > 0, OVER_MS)))
    for (const reader of readers) reader.pause()
    const before = ground.residentBytes
    // Until nobody can say any more to anybody.
    let [said, quiet] = [-1, 0]
    const written = () => upstreams.reduce((sum, { socket }) => sum + socket.bytesWritten, 0)
    await eventually(
      () => {
        quiet =
          written() - upstreams.reduce((sum, { socket }) => sum + socket.writableLength, 0) === said ? quiet + 1 : 0
        said = written() - upstreams.reduce((sum, { socket }) => sum + socket.writableLength, 0)
        return quiet >= 20
      },
      { timeoutMs: OVER_MS, everyMs: 20 },
    )
    const grown = ground.residentBytes - before
    ground.count('stopped readers', readers.length)
    if (grown > readers.length * HELD_BYTES_MAX) ground.wrong(`${readers.length} stopped readers took ${grown} bytes`)
    const revoked = await ground.node.revoke({ tokens: [id] })
    if (revoked.connections.cut !== readers.length)
      ground.wrong(`${revoked.connections.cut} of ${readers.length} were cut`)
    const left = (await ground.connections()).length
    if (left > 0) ground.wrong(`${left} stopped readers are in the registry after their kill`)
    for (const reader of readers) reader.resume()
    await Promise.all(readers.map((reader) => reader.done(OVER_MS)))
    const ended = readers.filter(({ ended: how, complete }) => how !== 'reset' || complete)
    if (ended.length > 0) ground.wrong(`${ended.length} stopped readers were not reset`)
    await eventually(() => upstreams.every(({ closedAt }) => closedAt !== null), {
      timeoutMs: OVER_MS,
      what: 'the upstreams of stopped readers are let go',
    })
  } finally {
    for (const reader of readers) reader[Symbol.dispose]()
  }
}

/** Whether others are served while something drags on. */
const servesOthers = async (ground: WireGround, scene: string): Promise<void> => {
  const path = ground.path((request) => request.answer('200 OK', [], 'served'))
  const { headers } = await ground.token()
  for (let number = 0; number < 20; number += 1) {
    const { status, text } = await ask(ground.node.gate, { target: path, headers })
    if (status !== 200 || text !== 'served') ground.wrong(`${scene}: another was answered ${status}`)
  }
  ground.count('others served', 20)
}

/** Requests whose head comes byte by byte, and never ends: the runtime ends them after 12 s. */
export const slowHeads = async (ground: WireGround): Promise<void> => {
  const { headers } = await ground.token()
  const path = ground.path((request) => request.answer('200 OK', [], 'late'))
  const head = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${headers['Authorization']}\r\nX-Slow: `
  const clients = await Promise.all(Array.from({ length: ground.many(200, 1_000) }, () => connectRaw(ground.node.gate)))
  try {
    // Some have sent nothing, some a part of their first line, some all but the end.
    const sent = clients.map(() => ground.random.below(head.length))
    for (const [at, client] of clients.entries()) if (sent[at]) client.send(head.slice(0, sent[at]))
    const drip = setInterval(() => {
      for (const [at, client] of clients.entries()) {
        if (client.ended !== 'open') continue
        const next = sent[at] ?? 0
        client.send(head[next] ?? 'x')
        sent[at] = next + 1
      }
    }, 250)
    try {
      await servesOthers(ground, 'slow heads')
      await eventually(() => clients.every(({ ended }) => ended !== 'open'), {
        timeoutMs: OVER_MS,
        everyMs: 50,
        what: 'heads that never end are ended',
      })
    } finally {
      clearInterval(drip)
    }
    ground.count('heads that never end', clients.length)
    if (clients.some(({ status }) => status !== 0 && status !== 408))
      ground.wrong('a head that never ends was answered')
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}

/** Bodies that come byte by byte: each holds its own connection and nothing else, and a kill ends them all. */
export const slowBodies = async (ground: WireGround): Promise<void> => {
  let reached = 0
  const path = ground.path(() => {
    reached += 1
  })
  const { id, headers } = await ground.token()
  const framings: Record<string, string>[] = [
    { 'Content-Type': 'application/json', 'Content-Length': '5000' },
    { 'Content-Length': '5000' },
    { 'Transfer-Encoding': 'chunked' },
  ]
  const clients = await Promise.all(
    Array.from({ length: ground.many(150, 600) }, (_, at) =>
      open(ground.node.gate, {
        method: 'POST',
        target: path,
        headers: { ...headers, ...framings[at % framings.length] },
      }),
    ),
  )
  try {
    const drip = setInterval(() => {
      for (const [at, client] of clients.entries())
        if (client.ended === 'open') client.send(at % 3 === 2 ? '1\r\nx\r\n' : 'x')
    }, 20)
    try {
      await servesOthers(ground, 'slow bodies')
      await eventually(async () => (await ground.connections()).length === clients.length, { timeoutMs: OVER_MS })
      const { connections } = await ground.node.revoke({ tokens: [id] })
      if (connections.cut !== clients.length)
        ground.wrong(`${connections.cut} of ${clients.length} slow bodies were cut`)
      await Promise.all(clients.map((client) => client.done(OVER_MS)))
    } finally {
      clearInterval(drip)
    }
    const otherwise = clients.filter(({ status, ended }) => status !== 401 && !(status === 0 && ended === 'reset'))
    if (otherwise.length > 0) ground.wrong(`${otherwise.length} slow bodies ended with ${otherwise[0]?.status}`)
    ground.count('bodies byte by byte', clients.length)
    if (reached > (clients.length * 2) / 3) ground.wrong('a small JSON body went up before it was whole')
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}

const STAGES = [
  'before a byte',
  'within the head',
  'within the body',
  'before the answer',
  'within the answer',
] as const

/** Clients that connect and go, in every stage, by a FIN or a reset. */
export const comeAndGo = async (ground: WireGround): Promise<void> => {
  const path = ground.path((request) => {
    if (request.head.get('x-stage') !== 'within the answer') return
    request.begin('200 OK', EVENT_STREAM)
    request.chunk('data: begun\n\n')
  })
  const { headers } = await ground.token()
  const total = ground.many(1_500, 10_000)
  let left = total
  const one = async (): Promise<void> => {
    const stage = ground.random.pick(STAGES)
    const client = await connectRaw(ground.node.gate)
    const method = stage === 'within the body' ? 'POST' : 'GET'
    const lines = [
      `${method} ${path} HTTP/1.1`,
      'Host: localhost',
      `Authorization: ${headers['Authorization']}`,
      `X-Stage: ${stage}`,
    ]
    const head = [...lines, ...(method === 'POST' ? ['Content-Length: 1000'] : [])].join('\r\n')
    if (stage === 'within the head') client.send(head.slice(0, 1 + ground.random.below(head.length)))
    else if (stage === 'within the body') client.send(`${head}\r\n\r\n${'b'.repeat(ground.random.below(900))}`)
    else if (stage !== 'before a byte') client.send(`${head}\r\n\r\n`)
    if (stage === 'within the answer')
      await client.until(({ bodyBytes, ended }) => bodyBytes > 0 || ended !== 'open', OVER_MS)
    if (ground.random.chance(0.5)) client.close()
    else client[Symbol.dispose]()
    ground.count(`gone ${stage}`)
    await goneFor(client)
  }
  const lane = async () => {
    while ((left -= 1) >= 0) await one()
  }
  await Promise.all(Array.from({ length: 24 }, lane))
  ground.count('connects and disconnects', total)
}

/** A half-closed connection is let go by the gate too, or its own end is cut off here. */
const goneFor = async (client: RawClient): Promise<void> => {
  await eventually(() => client.ended !== 'open', { timeoutMs: 2_000 }).catch(() => undefined)
  client[Symbol.dispose]()
}
