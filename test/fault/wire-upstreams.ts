import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import type { RawUpstreamRequest } from '../support/upstreams/raw.ts'
import { OVER_MS, type WireGround } from './wire-ground.ts'

/** Upstreams that die, say nothing, or say what is no HTTP. */

const EVENT = (number: number): string => `id: ${number}\ndata: {"n":${number}}\n\n`

/** Upstreams that are reset anywhere, mostly within an event: clients see whole events, then a reset. */
export const killedMidEvent = async (ground: WireGround): Promise<void> => {
  const total = ground.many(150, 1_500)
  const { headers } = await ground.token()
  const text = Array.from({ length: 8 }, (_, at) => EVENT(at)).join('')
  let next = 0
  const one = async (): Promise<void> => {
    const end = 1 + ground.random.below(text.length)
    const [graceful, framed] = [ground.random.chance(0.5), ground.random.chance(0.7)]
    const path = ground.path((request) => {
      const said = text.slice(0, end)
      if (framed) {
        request.begin('200 OK', ['Content-Type: text/event-stream'])
        request.chunk(said)
      } else
        request.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n${said}`)
      // Once the bytes have gone: a reset takes what is still on its way along.
      request.socket.write('', () => setTimeout(() => (graceful ? request.socket.end() : request.reset()), 5))
    })
    const client = await open(ground.node.gate, { target: path, headers })
    try {
      await client.done(OVER_MS)
      const got = client.text.replace(/^:\n\n/, '')
      const whole = text.startsWith(got) && (got === '' || got.endsWith('\n\n'))
      if (client.complete && client.status === 200) ground.wrong(`an upstream that died at ${end} ended in good order`)
      if (client.status === 200 && !whole) ground.wrong(`an upstream that died at ${end} left ${JSON.stringify(got)}`)
      ground.count('upstreams killed within an event')
    } finally {
      client[Symbol.dispose]()
    }
  }
  const lane = async () => {
    while ((next += 1) <= total) await one()
  }
  await Promise.all(Array.from({ length: 16 }, lane))
}

/** Upstreams that take a request and never answer: a kill answers for them, and lets go of them. */
export const silentUpstreams = async (ground: WireGround): Promise<void> => {
  const asked: RawUpstreamRequest[] = []
  const path = ground.path((request) => void asked.push(request), 'mcp')
  const { id, headers } = await ground.token()
  const total = ground.many(60, 300)
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  const post = { method: 'POST', target: path, headers: { ...headers, 'Content-Type': 'application/json' }, body }
  const clients = await Promise.all(
    Array.from({ length: total }, (_, at) => open(ground.node.gate, at % 2 === 0 ? post : { target: path, headers })),
  )
  try {
    await eventually(() => asked.length === total, { timeoutMs: OVER_MS })
    const { connections } = await ground.node.revoke({ tokens: [id] })
    if (connections.cut !== total) ground.wrong(`${connections.cut} of ${total} silent requests were cut`)
    await Promise.all(clients.map((client) => client.done(OVER_MS)))
    if (clients.some(({ status }) => status !== 401)) ground.wrong('a silent request was not answered 401 by its kill')
    await eventually(() => asked.every(({ closedAt }) => closedAt !== null), {
      timeoutMs: OVER_MS,
      what: 'silent upstreams are let go',
    })
    ground.count('silent upstreams', total)
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}

/** What the gate and the runtime may hold of a body that nobody takes. */
const HELD_UPLOAD_BYTES = 4 * 1024 * 1024
/** What earlier scenes left moves by that much on a busy machine. Uploads that are not held back take 40 MB each. */
const AT_REST_NOISE_BYTES = 32 * 1024 * 1024

const OK = 'HTTP/1.1 200 OK\r\n'
const LENGTH_5 = 'Content-Length: 5\r\n\r\n'
const CHUNKED = 'Transfer-Encoding: chunked\r\n\r\n'

/**
 * What upstreams say that is no good answer, whether the connection is closed after it, and what may be made of it: a
 * status and a body that was whole, `broken` for one that was not.
 */
const GARBAGE: [what: string, bytes: string, closes: boolean, outcomes: string[]][] = [
  ['nothing', '', true, ['502']],
  ['noise', '\x00\xff\x16\x03\x01 what\r\n\r\n', true, ['502']],
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', true, ['502']],
  ['a bad status', 'HTTP/1.1 99999 What\r\n\r\n', true, ['502']],
  ['no status', 'HTTP/1.1\r\n\r\n', true, ['502']],
  ['half a head', `${OK}Content-Type: te`, true, ['502']],
  ['a header without a name', `${OK}: nameless\r\n${LENGTH_5}hello`, false, ['502', '200 hello']],
  ['a header with a NUL', `${OK}X-A: a\0b\r\n${LENGTH_5}hello`, false, ['502', '200 hello']],
  [
    'a length that is no number',
    `${OK}Content-Length: five\r\n\r\nhello`,
    true,
    ['502', '200 hello', '200 ', 'broken'],
  ],
  ['a negative length', `${OK}Content-Length: -5\r\n\r\nhello`, true, ['502', '200 hello', '200 ', 'broken']],
  ['two lengths', `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, true, ['502', '200 hello', 'broken']],
  ['a length too long', `${OK}Content-Length: 500\r\n\r\nhello`, true, ['502', 'broken']],
  ['a length too short', `${OK}Content-Length: 3\r\n\r\nhello`, true, ['502', '200 hel']],
  ['a chunk whose size is none', `${OK}${CHUNKED}zz\r\nhello\r\n0\r\n\r\n`, true, ['502', 'broken']],
  ['a chunk that is longer than its size', `${OK}${CHUNKED}3\r\nhello\r\n0\r\n\r\n`, true, ['502', 'broken']],
  ['a huge chunk size', `${OK}${CHUNKED}ffffffffffffffffff\r\nhello`, true, ['502', 'broken']],
  ['no last chunk', `${OK}${CHUNKED}5\r\nhello\r\n`, true, ['502', 'broken']],
  [
    'both framings',
    `${OK}Content-Length: 3\r\n${CHUNKED}5\r\nhello\r\n0\r\n\r\n`,
    true,
    ['502', '200 hello', 'broken'],
  ],
  ['100 Continue first', `HTTP/1.1 100 Continue\r\n\r\n${OK}${LENGTH_5}hello`, false, ['200 hello']],
  [
    '103 Early Hints first',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}${LENGTH_5}hello`,
    false,
    ['200 hello'],
  ],
  [
    'many 100 Continue',
    `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(500)}${OK}${LENGTH_5}hello`,
    false,
    ['200 hello', '502'],
  ],
  [
    '101 unasked',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello',
    true,
    ['502', '101 ', 'broken'],
  ],
  ['two answers', `${OK}${LENGTH_5}hello${OK}${LENGTH_5}world`, false, ['200 hello']],
  ['a body with 204', `HTTP/1.1 204 No Content\r\n${LENGTH_5}hello`, true, ['204 ']],
  ['a body with 304', `HTTP/1.1 304 Not Modified\r\n${LENGTH_5}hello`, true, ['304 ']],
  ['one long header', `${OK}X-Long: ${'x'.repeat(300_000)}\r\n${LENGTH_5}hello`, true, ['502', '200 hello']],
  ['many headers', `${OK}${'X-Many: x\r\n'.repeat(5_000)}${LENGTH_5}hello`, true, ['502', '200 hello']],
  ['HTTP/1.0', `HTTP/1.0 200 OK\r\n\r\nhello`, true, ['200 hello']],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', true, ['502']],
  ['bare line feeds', `HTTP/1.1 200 OK\nContent-Length: 5\n\nhello`, true, ['502', '200 hello']],
  ['a folded header', `${OK}X-A: a\r\n b\r\n${LENGTH_5}hello`, true, ['502', '200 hello']],
]

/** Whatever an upstream says, the client gets a whole answer, a 502 or a break: never another one's bytes, nor nothing. */
export const garbageAnswers = async (ground: WireGround): Promise<void> => {
  const { headers } = await ground.token()
  for (let round = 0; round < ground.many(1, 5); round += 1) {
    for (const [what, bytes, closes, outcomes] of GARBAGE) {
      const path = ground.path((request) => {
        request.answered = true
        request.write(Buffer.from(bytes, 'latin1'))
        if (closes) request.socket.end()
      })
      const client = await open(ground.node.gate, { target: path, headers })
      try {
        await client.done(OVER_MS)
        const got =
          client.complete || client.ended === 'fin'
            ? `${client.status} ${client.status === 502 ? '' : client.text}`
            : 'broken'
        const is = client.status === 502 ? '502' : client.status === 0 ? 'broken' : got
        if (!outcomes.includes(is))
          ground.wrong(`an upstream that says ${what} made ${JSON.stringify(is.slice(0, 200))}`)
      } finally {
        client[Symbol.dispose]()
      }
      ground.count('bad answers')
    }
    // An upstream's connection that was left in a bad state is used for nobody else.
    const path = ground.path((request) => request.answer('200 OK', [], 'mine'))
    for (let number = 0; number < 10; number += 1) {
      const { status, text } = await ask(ground.node.gate, { target: path, headers })
      if (status !== 200 || text !== 'mine') ground.wrong(`after bad answers another got ${status} ${text}`)
    }
  }
}

/** Uploads to upstreams that take nothing: the clients are held back, memory stays flat, and a kill frees all. */
export const stoppedUploads = async (ground: WireGround): Promise<void> => {
  const path = ground.path((request) => void request.socket.pause())
  const { id, headers } = await ground.token()
  const before = ground.residentBytes
  const length = { 'Content-Length': String(HELD_UPLOAD_BYTES * 10) }
  const clients = await Promise.all(
    Array.from({ length: ground.many(10, 50) }, () =>
      open(ground.node.gate, { method: 'POST', target: path, headers: { ...headers, ...length } }),
    ),
  )
  try {
    for (const client of clients) client.send(Buffer.alloc(HELD_UPLOAD_BYTES * 10 - 1))
    let last = -1
    await eventually(
      async () => {
        const bytes = (await ground.connections()).reduce((sum, { bytesIn }) => sum + bytesIn, 0)
        const stands = bytes > 0 && bytes === last
        last = bytes
        return stands
      },
      { timeoutMs: OVER_MS, everyMs: 300, what: 'uploads that nobody takes stand still' },
    )
    const grown = ground.residentBytes - before
    if (grown > clients.length * HELD_UPLOAD_BYTES + AT_REST_NOISE_BYTES)
      ground.wrong(`${clients.length} stopped uploads took ${grown} bytes`)
    const { connections } = await ground.node.revoke({ tokens: [id] })
    if (connections.cut !== clients.length)
      ground.wrong(`${connections.cut} of ${clients.length} stopped uploads were cut`)
    await Promise.all(clients.map((client) => client.done(OVER_MS)))
    ground.count('stopped uploads', clients.length)
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}

/** An upstream whose headers never end: it is the node that must not grow. */
export const endlessHeaders = async (ground: WireGround): Promise<void> => {
  const { id, headers } = await ground.token()
  const sockets: RawUpstreamRequest[] = []
  const path = ground.path((request) => {
    sockets.push(request)
    request.write(OK)
    const line = `X-More: ${'m'.repeat(1_000)}\r\n`
    const run = (): void => {
      let taken = true
      for (let lines = 0; taken && request.socket.writable && request.socket.bytesWritten < 64_000_000; lines += 1) {
        taken = request.write(line)
      }
    }
    request.socket.on('drain', run)
    run()
  })
  const before = ground.residentBytes
  const client = await open(ground.node.gate, { target: path, headers })
  try {
    let written = -1
    await eventually(
      () => {
        const now = sockets[0]?.socket.bytesWritten ?? 0
        const over = client.status !== 0 || client.ended !== 'open' || (now > 0 && now === written)
        written = now
        return over
      },
      { timeoutMs: OVER_MS, everyMs: 200, what: 'endless headers end, or are not taken' },
    )
    ground.count('bytes of endless headers taken', written)
    const grown = ground.residentBytes - before
    if (grown > 96 * 1024 * 1024) ground.wrong(`endless headers took ${grown} bytes`)
    if (client.status !== 0 && client.status !== 502) ground.wrong(`endless headers were answered ${client.status}`)
    await ground.node.revoke({ tokens: [id] })
    await client.done(OVER_MS)
  } finally {
    client[Symbol.dispose]()
    for (const { socket } of sockets) socket.destroy()
  }
}
