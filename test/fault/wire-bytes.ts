import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import type { Random } from '../support/random.ts'
import type { RawUpstreamRequest } from '../support/upstreams/raw.ts'
import { OVER_MS, type WireGround } from './wire-ground.ts'

/** Bytes through the gate, whole, split and senseless: they come out as they went in, with comments between events only. */

const COMMENT = ':\n\n'
const FAREWELL = 'event: disconnect\ndata: {"error":{"type":"token_revoked","message":"Connection token revoked"}}\n\n'

/** Line ends of every kind, characters of one to four bytes, a byte order mark, a comment, an event without data. */
const MIXED =
  '\ufeffdata: é€😀\n\nid: 1\r\ndata: a\r\ndata: ß\r\n\r\n: comment\r\rdata:x\r\revent: tick\ndata\n\nretry: 5\n\ndata: 漢字\r\n\r\n'

/** Where an event ends in these bytes, as the definition has it: after a blank line. */
const boundariesOf = (bytes: Buffer): Set<number> => {
  const text = bytes.toString('latin1')
  const ends = new Set<number>([0])
  for (let at = 0, blank = false; at < text.length;) {
    const end = /\r\n|\n|\r/g
    end.lastIndex = at
    const found = end.exec(text)
    if (!found) break
    blank = found.index === at
    at = found.index + found[0].length
    if (blank) ends.add(at)
  }
  return ends
}

/** Revoked after every number of bytes: what went on ends with an event, and the last words stand on their own. */
export const cutAtEveryByte = async (ground: WireGround): Promise<void> => {
  const said = Buffer.from(MIXED)
  const ends = boundariesOf(said)
  const step = ground.many(3, 1)
  let next = 1 - step
  const one = async (size: number): Promise<void> => {
    let upstream: RawUpstreamRequest | null = null
    const path = ground.path((request) => {
      upstream = request
      request.begin('200 OK', ['Content-Type: text/event-stream'])
      // One by one, so that every place is one where a piece ends.
      for (let at = 0; at < size; at += 1) request.chunk(said.subarray(at, at + 1))
    })
    const { id, headers } = await ground.token()
    const client = await open(ground.node.gate, { target: path, headers })
    const due = Math.max(...[...ends].filter((end) => end <= size))
    try {
      // What may yet be the first half of CR LF is held back until more comes.
      const least = due === size && said[size - 1] === 13 ? Math.max(...[...ends].filter((end) => end < due)) : due
      await client.until(
        ({ status, text }) => status === 200 && Buffer.byteLength(withoutOpening(text)) >= least,
        OVER_MS,
      )
      await ground.node.revoke({ tokens: [id] })
      await client.done(OVER_MS)
      const got = withoutOpening(client.text)
      const passed = got.endsWith(FAREWELL) ? got.slice(0, -FAREWELL.length) : null
      const bytes = passed === null ? -1 : Buffer.byteLength(passed)
      if (
        !client.complete ||
        passed === null ||
        !ends.has(bytes) ||
        bytes < least ||
        !said.subarray(0, bytes).equals(Buffer.from(passed))
      ) {
        ground.wrong(`cut after ${size} bytes: ${JSON.stringify(got)} (${client.ended})`)
      }
      ground.count('cuts at a byte')
    } finally {
      client[Symbol.dispose]()
      ;(upstream as RawUpstreamRequest | null)?.socket.destroy()
    }
  }
  const lane = async () => {
    while ((next += step) <= said.length) await one(next)
  }
  await Promise.all([lane(), lane(), lane(), lane(), lane(), lane()])
}

const withoutOpening = (text: string): string => (text.startsWith(COMMENT) ? text.slice(COMMENT.length) : text)

const PIECES = [
  ...[
    '\n',
    '\r',
    '\r\n',
    '\n\n',
    '\r\r',
    '\r\n\r\n',
    '\n\r',
    '\n\r\n',
    ':',
    ': ',
    'data',
    'data:',
    'data: ',
    'event: ',
    'id: ',
    'retry: 1',
  ],
  ...[
    'event: endpoint\ndata: ',
    'event: endpoint\ndata: /m\n\n',
    '\ufeff',
    '\0',
    'é',
    '😀',
    '{}',
    '[]',
    '{"jsonrpc":"2.0",',
    '"id":1,',
  ],
  ...[
    '"result":{}}',
    '"error":{"code":1}}',
    'data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
    'data: [1,2',
    '"',
    '\\u0000',
    '0\r\n\r\n',
  ],
]

/** Bytes that are often, but not always, like events: mutated pieces, noise, long lines, broken characters. */
const someBytes = (random: Random, piecesMax: number): Buffer => {
  const parts: Buffer[] = []
  for (let pieces = random.below(piecesMax); pieces >= 0; pieces -= 1) {
    const kind = random.below(12)
    if (kind === 0) parts.push(Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256))))
    else if (kind === 1) parts.push(Buffer.from([0xc3, 0x28, 0xff, 0xfe, 0xed, 0xa0, 0x80].slice(random.below(7))))
    else if (kind === 2 && random.chance(0.1)) parts.push(Buffer.alloc(random.below(200_000), 'long '))
    else parts.push(Buffer.from(random.pick(PIECES as [string, ...string[]])))
  }
  return Buffer.concat(parts)
}

/** What was added to `sent` on the way, if nothing but comments between events was: else null. */
const commentsIn = (got: Buffer, sent: Buffer): number | null => {
  if (got.equals(sent)) return 0
  const ends = boundariesOf(sent)
  let [at, comments] = [0, 0]
  for (let from = 0; from < got.length;) {
    const isComment = ends.has(at) && got.subarray(from, from + 3).toString() === COMMENT
    const asSent = at < sent.length && got[from] === sent[at]
    // Where both are possible, a comment of ours is tried only when the rest would not fit.
    if (asSent && (!isComment || got.length - from <= sent.length - at)) {
      from += 1
      at += 1
    } else if (isComment) {
      from += 3
      comments += 1
    } else return null
  }
  return at === sent.length ? comments : null
}

/** Event streams of any bytes, in pieces of any size, under each kind of server: out comes what went in. */
export const anyEvents = async (ground: WireGround): Promise<void> => {
  const { headers } = await ground.token()
  let left = ground.many(400, 6_000)
  const one = async (): Promise<void> => {
    const { random } = ground
    const mcp = random.chance(0.5)
    const sent = someBytes(random, 60)
    // A GET of MCP may announce an endpoint, which is rewritten: that has tests of its own.
    const method = mcp ? 'POST' : 'GET'
    const path = ground.path(
      (request) => {
        request.begin('200 OK', ['Content-Type: text/event-stream'])
        for (let at = 0; at < sent.length;) {
          const size = 1 + random.below(random.chance(0.5) ? 8 : 5_000)
          request.chunk(sent.subarray(at, at + size))
          at += size
        }
        request.lastChunk()
      },
      mcp ? 'mcp' : 'http',
    )
    const body = mcp ? { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }) } : {}
    const type: Record<string, string> = mcp ? { 'Content-Type': 'application/json' } : {}
    const client = await open(ground.node.gate, { method, target: path, headers: { ...headers, ...type }, ...body })
    try {
      await client.done(OVER_MS)
      const comments = client.complete && client.status === 200 ? commentsIn(client.bytes, sent) : null
      if (comments === null) {
        ground.wrong(
          `a stream came out otherwise (${client.status}, ${client.ended}): ${sent.toString('base64').slice(0, 2_000)}`,
        )
      }
      ground.count('streams of any bytes')
      ground.count('bytes of theirs', sent.length)
    } finally {
      client[Symbol.dispose]()
    }
  }
  const lane = async () => {
    while ((left -= 1) >= 0) await one()
  }
  await Promise.all(Array.from({ length: 8 }, lane))
}

const nested = (depth: number, open_: string, close: string): string => open_.repeat(depth) + close.repeat(depth)

/** Bodies that are, or nearly are, JSON-RPC. */
const someBody = (random: Random): Buffer => {
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}'
  const kind = random.below(14)
  const text =
    [
      () => call,
      () => `[${Array.from({ length: 1 + random.below(1_500) }, (_, id) => call.replace('1,', `${id},`)).join(',')}]`,
      () => nested(1 + random.below(100_000), '[', ']'),
      () =>
        `{"jsonrpc":"2.0","id":1,"method":"m","params":${nested(1 + random.below(50_000), '{"a":', '}').replace('}', '1}')}}`,
      () => '{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b"}',
      () => `\ufeff${call}`,
      () => call.replaceAll('"', '\\u0022'),
      () =>
        `{"jsonrpc":"2.0","id":${random.pick(['1e400', '-0', '0.1e-7', '9007199254740993', 'null', '{}', '""', '"\\ud800"'])},"method":"m"}`,
      () => call.slice(0, random.below(call.length)),
      () => `${call}\0${call}`,
      () => `{"jsonrpc":"2.0","__proto__":{"id":1},"constructor":1,"method":"toString","id":"__proto__"}`,
      () => `"${'x'.repeat(random.below(300_000))}"jsonrpc"`,
      () => `[${'null,'.repeat(random.below(50_000))}{"jsonrpc":"2.0"}]`,
      () => '',
    ][kind]?.() ?? ''
  if (random.chance(0.8)) return Buffer.from(text)
  const bytes = Buffer.from(text)
  for (let flips = random.below(4); flips >= 0 && bytes.length > 0; flips -= 1)
    bytes[random.below(bytes.length)] = random.below(256)
  return bytes
}

/** Bodies of any bytes, both ways: the upstream gets what the client sent, and the client what the upstream said. */
export const anyBodies = async (ground: WireGround): Promise<void> => {
  const { headers } = await ground.token()
  let left = ground.many(300, 4_000)
  const one = async (): Promise<void> => {
    const { random } = ground
    const [up, down] = [someBody(random), someBody(random)]
    const framed = random.chance(0.7)
    let got: RawUpstreamRequest | null = null
    const path = ground.path((request) => {
      got = request
      void eventually(() => request.bodyComplete, { timeoutMs: OVER_MS }).then(
        () => request.answer('200 OK', ['Content-Type: application/json'], down),
        () => request.reset(),
      )
    }, 'mcp')
    const chunked = Buffer.concat([
      Buffer.from(`${up.length.toString(16)}\r\n`),
      up,
      Buffer.from(up.length > 0 ? '\r\n0\r\n\r\n' : '\r\n'),
    ])
    const framing: Record<string, string> = framed
      ? { 'Content-Length': String(up.length) }
      : { 'Transfer-Encoding': 'chunked' }
    const given: Record<string, string> = { ...headers, 'Content-Type': 'application/json', ...framing }
    const { status, bytes } = await ask(ground.node.gate, {
      method: 'POST',
      target: path,
      headers: given,
      body: framed ? up : chunked,
    })
    const seen = got as RawUpstreamRequest | null
    const hash = new Bun.CryptoHasher('sha256').update(up).digest('hex')
    if (status !== 200 || seen?.bodySha256() !== hash || !bytes.equals(down)) {
      const what =
        status !== 200
          ? `was answered ${status}`
          : seen?.bodySha256() === hash
            ? 'was answered otherwise'
            : 'went up otherwise'
      ground.wrong(`a body ${what}: ${up.toString('base64').slice(0, 500)} / ${down.toString('base64').slice(0, 500)}`)
    }
    ground.count('bodies of any bytes')
  }
  const lane = async () => {
    while ((left -= 1) >= 0) await one()
  }
  await Promise.all(Array.from({ length: 8 }, lane))
}
