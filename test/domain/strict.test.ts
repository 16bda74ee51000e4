import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { readStrict, rewriteJson } from '../../src/gate/strict.ts'
import { limits } from '../../src/limits.ts'

const encoder = new TextEncoder()
const read = (body: string | Uint8Array) => readStrict(typeof body === 'string' ? encoder.encode(body) : body)

const id = fc.oneof(fc.string(), fc.maxSafeInteger())
// Names of members are strings of any kind, `__proto__` too; those of `params` are no spelling of a known one.
const argumentsValue = fc.jsonValue()
const params = fc.record(
  { name: fc.string(), arguments: argumentsValue, cursor: fc.string(), uri: argumentsValue, _meta: argumentsValue },
  { requiredKeys: [] },
)
const method = fc.constantFrom('tools/call', 'tools/list', 'ping', 'notifications/initialized', 'x.y-Z_$1')
const message = fc.oneof(
  fc.record({ jsonrpc: fc.constant('2.0'), id, method, params }, { requiredKeys: ['jsonrpc', 'id', 'method'] }),
  fc.record({ jsonrpc: fc.constant('2.0'), method, params }, { requiredKeys: ['jsonrpc', 'method'] }),
  fc.record({ jsonrpc: fc.constant('2.0'), id, result: argumentsValue }),
  fc.record({ jsonrpc: fc.constant('2.0'), id, error: argumentsValue }),
)
const body = fc.oneof(message, fc.array(message, { minLength: 1, maxLength: 4 }))

/** Some characters of the strings in a JSON text, spelt as escapes: every parser reads the same. */
const escaping = (json: string, every: number): string => {
  let count = 0
  return json.replaceAll(/\\.|[a-z]/g, (found) => {
    count += 1
    // Letters of `true`, `false` and `null` outside of strings must stay: those are spelt after this.
    return found.length === 1 && count % every === 0 ? `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}` : found
  })
}
const insideStrings = (json: string, change: (text: string) => string): string =>
  json.replaceAll(/"(?:\\.|[^"\\])*"/g, change)

test('what JSON.stringify makes of JSON-RPC is read, whatever its white space and escapes', () => {
  fc.assert(
    fc.property(
      body,
      fc.constantFrom('', ' ', '\t', '    '),
      fc.constantFrom('', ' ', '\r\n', '\t \n'),
      fc.integer({ min: 2, max: 9 }),
      (value, indent, around, every) => {
        const json = insideStrings(JSON.stringify(value, null, indent), (text) => escaping(text, every))
        const found = read(around + json + around)
        return found !== null && Bun.deepEquals(found.messages, [JSON.parse(json)].flat())
      },
    ),
    { numRuns: 3_000 },
  )
})

test('a member given twice is refused, wherever it stands and however it is spelt', () => {
  let tried = 0
  fc.assert(
    fc.property(body, fc.nat(), fc.boolean(), fc.jsonValue(), (value, which, escaped, other) => {
      const json = JSON.stringify(value)
      // Every place after a member's name; all of them are objects' own.
      const names = [...json.matchAll(/"((?:\\.|[^"\\])*)":/g)].filter(({ index }) => isMember(json, index))
      const name = names[which % names.length] as RegExpMatchArray & { index: number }
      const spelt = escaped ? escaping(`"${name[1]}"`, 1) : `"${name[1]}"`
      const twice = `${json.slice(0, name.index)}${spelt}:${JSON.stringify(other)},${json.slice(name.index)}`
      JSON.parse(twice)
      tried += 1
      return read(twice) === null
    }),
    { numRuns: 3_000 },
  )
  expect(tried).toBeGreaterThan(2_000)
})

/** Whether a position is outside of every string. */
const isMember = (json: string, at: number): boolean => {
  const strings = [...json.matchAll(/"(?:\\.|[^"\\])*"/g)]
  return strings.some(({ index }) => index === at)
}

const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'
const nested = (depth: number) => CALL.replace('"a"', `"a","arguments":${'['.repeat(depth)}1${']'.repeat(depth)}`)
const batchOf = (count: number) => `[${Array.from({ length: count }, () => CALL).join(',')}]`

describe('bodies', () => {
  test.each([
    CALL,
    ` ${CALL}\n`,
    `[${CALL}]`,
    CALL.replace('1', '"x"'),
    CALL.replace('1', '0.0'),
    CALL.replace('"params":{"name":"a"}', '"params":{}'),
    '{"jsonrpc":"2.0","method":"ping"}',
    '{"jsonrpc":"2.0","id":1,"result":{"__proto__":{"a":1}}}',
    '{"jsonrpc":"2.0","id":1,"result":{"constructor":1,"toJSON":"x"}}',
    CALL.replace('"a"', '"a\\":\\"b","x":"\\\\"'),
    nested(limits.rpcDepthMax - 3),
    batchOf(limits.rpcIdsMax),
  ])('read: %p', (json) => {
    expect(read(json)).not.toBeNull()
  })

  test.each([
    ['nothing', ''],
    ['white space', ' '],
    ['an empty batch', '[]'],
    ['a batch in a batch', `[[${CALL}]]`],
    ['a scalar', '1'],
    ['null', 'null'],
    ['a scalar in a batch', `[${CALL},1]`],
    ['a comment', `${CALL}//`],
    ['a trailing comma', CALL.replace('"a"', '"a",')],
    ['single quotes', CALL.replaceAll('"', "'")],
    ['NaN', CALL.replace('1', 'NaN')],
    ['trailing garbage', `${CALL}x`],
    ['two documents', `${CALL}\n${CALL}`],
    ['two documents, one line', CALL + CALL],
    ['a NUL at the end', `${CALL}\0`],
    ['a record separator', `\x1e${CALL}\n`],
    ['a form feed', `\f${CALL}`],
    ['a byte order mark', `\ufeff${CALL}`],
    ['a prefix against hijacking', `)]}',\n${CALL}`],
    ['another version', CALL.replace('2.0', '1.0')],
    ['a version that is a number', CALL.replace('"2.0"', '2.0')],
    ['no version', CALL.replace('"jsonrpc":"2.0",', '')],
    ['id null', CALL.replace('1', 'null')],
    ['id true', CALL.replace('1', 'true')],
    ['id an object', CALL.replace('1', '{}')],
    ['an id past 2^53', CALL.replace('1', '9007199254740993')],
    ['an id that is no number any more', CALL.replace('1', '1e400')],
    ['a fraction as id', CALL.replace('1', '1.5')],
    ['params an array', CALL.replace('{"name":"a"}', '["a"]')],
    ['params a string', CALL.replace('{"name":"a"}', '"a"')],
    ['params null', CALL.replace('{"name":"a"}', 'null')],
    ['method no string', CALL.replace('"tools/call"', '["tools/call"]')],
    ['a control character in method', CALL.replace('tools/', 'tools\\u0000/')],
    ['a zero-width space in method', CALL.replace('tools/', 'tools\u200b/')],
    ['a full-width method', CALL.replace('tools/', 'tools／')],
    ['a space in method', CALL.replace('tools/call', 'tools/call ')],
    ['an empty method', CALL.replace('tools/call', '')],
    ['a method and a result', CALL.replace('"id"', '"result":{},"id"')],
    ['an answer without id', '{"jsonrpc":"2.0","result":{}}'],
    ['neither method nor answer', '{"jsonrpc":"2.0","id":1}'],
    ['a member that JSON-RPC has not', CALL.replace('"id"', '"model":"x","id"')],
    ['Method beside method', CALL.replace('"id"', '"Method":"ping","id"')],
    ['METHOD alone', CALL.replace('"method"', '"METHOD"')],
    ['Name beside name', CALL.replace('"name"', '"Name":"b","name"')],
    ['a long s in paramſ', CALL.replace('"params"', '"paramſ":{},"params"')],
    ['a full-width name', CALL.replace('"name"', '"ｎame":"b","name"')],
    ['a padded name', CALL.replace('"name"', '" name":"b","name"')],
    ['a name with a NUL', CALL.replace('"name"', '"name\\u0000":"b","name"')],
    ['a name with half a character', CALL.replace('"name"', '"na\\ud800me":"b","name"')],
    ['name twice', CALL.replace('"name"', '"name":"b","name"')],
    ['name twice, once escaped', CALL.replace('"name"', '"\\u006eame":"b","name"')],
    ['method twice in a batch', `[${CALL},${CALL.replace('"id"', '"method":"ping","id"')}]`],
    ['twice, deep inside', CALL.replace('"a"', '"a","arguments":{"x":[{"y":1,"y":1}]}')],
    ['__proto__ twice', CALL.replace('"a"', '"a","arguments":{"__proto__":1,"__proto__":2}')],
    ['too deep', nested(limits.rpcDepthMax + 1)],
    ['one past the batch limit', batchOf(limits.rpcIdsMax + 1)],
  ])('refused: %s', (_, json) => {
    expect(read(json)).toBeNull()
  })

  const utf16 = Buffer.from(CALL, 'utf16le')
  test.each<[string, Uint8Array]>([
    ['UTF-16, little-endian', utf16],
    ['UTF-16 with its mark', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ['UTF-16, big-endian', Buffer.from(utf16).swap16()],
    ['UTF-32', Buffer.from([...Buffer.from(CALL)].flatMap((byte) => [byte, 0, 0, 0]))],
    ['UTF-7', Buffer.from(CALL.replaceAll('"', '+ACI-'))],
    ['Latin-1 beyond ASCII', Buffer.from(CALL.replace('"a"', '"é"'), 'latin1')],
    ['an overlong quote', Buffer.from(CALL.replace('"a"', '"a\u0001\u0002"'), 'latin1').map(overlong)],
    [
      'a surrogate in UTF-8',
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
    ],
    ['gzip', Bun.gzipSync(Buffer.from(CALL))],
  ])('refused: %s', (_, bytes) => {
    expect(read(bytes)).toBeNull()
  })
})

/** Two bytes of which a lenient decoder makes one quote. */
function overlong(byte: number): number {
  return byte === 1 ? 0xc0 : byte === 2 ? 0xa2 : byte
}

describe('rewriting', () => {
  test('numbers that stay are spelt as they were', () => {
    const json = '[{"n":12345678901234567890,"z":-0,"e":1E400,"f":1.10,"t":1e2,"__proto__":{"a":[9007199254740993]}},1]'
    expect(rewriteJson(json, (parsed) => (parsed as unknown[]).slice(0, 1))).toBe(`[${json.slice(1, -3)}]`)
  })

  test('any JSON stays what it is', () => {
    fc.assert(
      fc.property(fc.json(), (json) => Bun.deepEquals(JSON.parse(rewriteJson(json, (same) => same)), JSON.parse(json))),
    )
  })

  test('what may be read can be written again', () => {
    expect(rewriteJson(nested(limits.rpcDepthMax - 3), (same) => same)).toBe(nested(limits.rpcDepthMax - 3))
  })
})
