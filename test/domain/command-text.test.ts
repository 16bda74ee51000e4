import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { limits } from '../../src/limits.ts'
import { commandIn, commandText } from '../../src/server/pages/command-text.ts'

/** Words as they come, and those that no line can hold. */
const argument = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r', '\\', "'", '"', '$', '[', ']', '=', '-', 'a', 'ß') }),
  fc.constantFrom('npx', '-y', '@scope/server', '/data', '', '[', 'A=b', '&'),
)

test('what the form shows of a command is read as that very command', () => {
  fc.assert(
    fc.property(fc.array(argument, { minLength: 1, maxLength: 6 }), (argv) => {
      expect(commandIn(commandText(argv))).toEqual(argv)
      // As a browser sends it.
      expect(commandIn(commandText(argv).replaceAll(/\r\n?|\n/g, '\r\n'))).toEqual(argv)
    }),
    { numRuns: 1_000 },
  )
})

describe('a command as it is typed', () => {
  test.each<[string, string[]]>([
    ['npx\n-y\n@scope/server\n/my data', ['npx', '-y', '@scope/server', '/my data']],
    ["npx -y @scope/server \"/my data\" 'it'\\''s' a\\ b", ['npx', '-y', '@scope/server', '/my data', "it's", 'a b']],
    ['docker run \\\n  -i --rm \\\n  mcp/fetch', ['docker', 'run', '-i', '--rm', 'mcp/fetch']],
    ['uvx mcp-server-fetch', ['uvx', 'mcp-server-fetch']],
    ['  bin/server  \n\n', ['bin/server']],
    ['["/opt/My Server/run", "", "a\\nb"]', ['/opt/My Server/run', '', 'a\nb']],
    ['server \'a|b\' "c;d"', ['server', 'a|b', 'c;d']],
    ['a\n$HOME\n|', ['a', '$HOME', '|']],
    ["server ''", ['server', '']],
    ['', []],
    [' \n ', []],
  ])('%j', (text, argv) => expect(commandIn(text)).toEqual(argv))

  test.each<[string, RegExp]>([
    ['server | tee log-4711', /no shell reads the command/],
    ['server $TOKEN_4711', /no shell reads/],
    ['server "$TOKEN_4711"', /no shell reads/],
    ['KEY=4711 server', /belongs into the environment/],
    ["server 'open-4711", /a quote.* is missing/],
    ['server 4711\\', /what follows a backslash, is missing/],
    ['[server 4711', /a list as JSON/],
    ['["server", 4711]', /a list as JSON/],
  ])('%j is refused, and not repeated', (text, says) => {
    expect(() => commandIn(text)).toThrow(says)
    expect(() => commandIn(text)).not.toThrow('4711')
  })

  test('what is far too long is not taken apart, whatever quotes are left open', () => {
    const longest = '"\\'.repeat(4 * limits.stdioCommandLengthMax)
    expect(() => commandIn(longest)).toThrow('is missing')
    expect(() => commandIn(`${longest}x`)).toThrow(`longer than ${limits.stdioCommandLengthMax} characters`)
  })
})
