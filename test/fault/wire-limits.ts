import { open } from '../support/raw.ts'
import { limits } from '../../src/limits.ts'
import { OVER_MS, type WireGround } from './wire-ground.ts'

/** Requests that are past what anybody takes: a clear error each, and the next one is served. */

interface Large {
  what: string
  /** The first line's target, more lines of the head, the method. */
  target?: (path: string) => string
  lines?: string[]
  method?: string
  body?: string | Uint8Array
  /** Refused with one of these; with none of them it must pass. */
  statuses: number[]
}

const PASSES = [200]
const TOO_LARGE = [431, 414, 400]

const CASES: Large[] = [
  { what: 'a path of 4 KB', target: (path) => `${path}/${'p'.repeat(4_000)}`, statuses: PASSES },
  { what: 'a query of 8 KB', target: (path) => `${path}?${'q'.repeat(8_000)}`, statuses: PASSES },
  { what: 'a path of 70 KB', target: (path) => `${path}/${'p'.repeat(70_000)}`, statuses: TOO_LARGE },
  { what: 'a path of 1 MB', target: (path) => `${path}/${'p'.repeat(1_000_000)}`, statuses: TOO_LARGE },
  { what: 'a header of 8 KB', lines: [`X-Large: ${'h'.repeat(8_000)}`], statuses: PASSES },
  { what: 'a header of 70 KB', lines: [`X-Large: ${'h'.repeat(70_000)}`], statuses: TOO_LARGE },
  { what: 'a header of 1 MB', lines: [`X-Large: ${'h'.repeat(1_000_000)}`], statuses: TOO_LARGE },
  { what: 'a name of 70 KB', lines: [`${'N'.repeat(70_000)}: x`], statuses: TOO_LARGE },
  { what: '60 headers', lines: Array.from({ length: 60 }, (_, at) => `X-${at}: x`), statuses: PASSES },
  { what: '5,000 headers', lines: Array.from({ length: 5_000 }, (_, at) => `X-${at}: x`), statuses: TOO_LARGE },
  {
    what: '70 KB in 700 headers',
    lines: Array.from({ length: 700 }, (_, at) => `X-${at}: ${'x'.repeat(95)}`),
    statuses: TOO_LARGE,
  },
  { what: 'a path deeper than the routes', target: (path) => `${path}${'/d'.repeat(200)}`, statuses: PASSES },
  // The runtime closes on methods that it does not know, without a word.
  { what: 'a method of its own', method: 'M'.repeat(40), statuses: [0] },
  {
    what: 'a length over the limit',
    method: 'POST',
    lines: [`Content-Length: ${limits.requestBodyBytesMax + 1}`],
    body: 'x'.repeat(1_000),
    statuses: [413],
  },
  {
    what: 'a length beyond all numbers',
    method: 'POST',
    lines: [`Content-Length: ${'9'.repeat(30)}`],
    statuses: [400, 413],
  },
]

export const pastLimits = async (ground: WireGround): Promise<void> => {
  const path = ground.path((request) => {
    if (request.bodyComplete) request.answer('200 OK', [], 'ok')
  })
  const { headers } = await ground.token()
  const serve = async ({ what, target, lines = [], method = 'GET', body, statuses }: Large): Promise<void> => {
    const given = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 2)]
    })
    const all: [string, string][] = [...Object.entries(headers), ...given]
    const request = { method, target: target?.(path) ?? path, headers: all, ...(body === undefined ? {} : { body }) }
    const client = await open(ground.node.gate, request)
    try {
      await client.done(OVER_MS)
      if (!statuses.includes(client.status)) ground.wrong(`${what} was answered ${client.status} (${client.ended})`)
    } finally {
      client[Symbol.dispose]()
    }
    ground.count('heads and bodies of any size')
  }
  for (const one of CASES) {
    await serve(one)
    await serve({ what: `the next after ${one.what}`, statuses: PASSES })
  }
  await serveLongBody(ground, headers)
}

/** A body of no told length, up to the limit and past it. */
const serveLongBody = async (ground: WireGround, headers: Record<string, string>): Promise<void> => {
  const path = ground.path(() => undefined)
  const piece = Buffer.alloc(1024 * 1024, 'b')
  const chunk = Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')])
  const client = await open(ground.node.gate, {
    method: 'POST',
    target: path,
    headers: { ...headers, 'Transfer-Encoding': 'chunked' },
  })
  try {
    for (let sent = 0; sent <= limits.requestBodyBytesMax && client.status === 0; sent += piece.length) {
      client.send(chunk)
      await Bun.sleep(0)
    }
    await client.done(OVER_MS)
    if (client.status !== 413) ground.wrong(`a body that never ends was answered ${client.status} (${client.ended})`)
    ground.count('bodies past the limit')
  } finally {
    client[Symbol.dispose]()
  }
}
