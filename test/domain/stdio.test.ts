import { expect, test } from 'bun:test'
import { AppError } from '../../src/error.ts'
import { limits } from '../../src/limits.ts'
import { generateSecret } from '../../src/secret.ts'
import { publicSpec, type StdioRequest, stdioSpec } from '../../src/stdio.ts'

const VALUE = 'value-of-a-variable-Kq81'
const spec = (request: Partial<StdioRequest>) => stdioSpec({ command: ['server'], ...request }, 'node_a')

test('what is left out is as the limits say, and the rest as it was given', () => {
  expect(spec({})).toEqual({
    command: ['server'],
    env: [],
    shared: false,
    user: null,
    sandbox: false,
    allow: [],
    network: true,
    idleMs: limits.stdioIdleMs,
    memoryBytes: limits.stdioMemoryBytes,
    cpuTimeMs: null,
    everywhere: false,
    node: 'node_a',
  })
  const command = ['/opt/a server', '', '--flag=$HOME', 'two\nlines', '-- ;|&']
  const given = { sandbox: true, allow: ['/srv', '/etc/ssl:ro'], network: false, user: 'mcp_user', cpuTimeMs: 1_000 }
  expect(spec({ ...given, command, env: { A: VALUE, B: '' } })).toMatchObject({
    ...given,
    command,
    env: [
      ['A', VALUE],
      ['B', ''],
    ],
  })
})

const many = (count: number) => Array.from({ length: count }, (_, index) => index)

test.each<[string, Partial<StdioRequest>, RegExp]>([
  ['no command', { command: [] }, /give the command/],
  ['a blank one', { command: [' '] }, /give the command/],
  ['a zero byte', { command: ['a', 'b\0c'] }, /zero byte/],
  ['a secret of ours', { command: ['a', `--token=${generateSecret('pcl_')}`] }, /secret/],
  ['a secret in a path', { sandbox: true, allow: [`/srv/${generateSecret('pcl_')}`] }, /secret/],
  ['paths without a sandbox', { allow: ['/srv'] }, /in a --sandbox/],
  ['no network without a sandbox', { network: false }, /in a --sandbox/],
  ['a relative path', { sandbox: true, allow: ['srv'] }, /slash/],
  ['a user that no system has', { user: 'root; rm' }, /user/],
  ['an empty user', { user: '' }, /user/],
  ['a variable without a name', { env: { '': VALUE } }, /variable 1/],
  ['a variable with a dash', { env: { OK: VALUE, 'NOT-OK': VALUE } }, /variable 2/],
  ['a secret of ours as a name', { env: { [generateSecret('pcl_')]: VALUE } }, /secret/],
  ['a value with a zero byte', { env: { A: `${VALUE}\0` } }, /value of A/],
  ['a fraction of a second', { idleMs: 1_500.5 }, /--idle/],
  ['no idle time', { idleMs: 999 }, /--idle/],
  ['no CPU time', { cpuTimeMs: 999 }, /--cpu-time/],
  ['no number', { cpuTimeMs: Number.NaN }, /--cpu-time/],
])('%s is refused, and no value is in the words', (_, request, words) => {
  let refusal: unknown
  try {
    spec(request)
  } catch (error) {
    refusal = error
  }
  expect(refusal).toBeInstanceOf(AppError)
  expect((refusal as AppError).kind).toBe('invalid')
  expect((refusal as AppError).message).toMatch(words)
  expect((refusal as AppError).message).not.toContain(VALUE)
})

test('each limit holds, and one past it is refused', () => {
  const env = (count: number) => Object.fromEntries(many(count).map((index) => [`V${index}`, '']))
  const allow = (count: number) => ({ sandbox: true, allow: many(count).map((index) => `/srv/${index}`) })
  const at = (value: number, of: (value: number) => Partial<StdioRequest>, step = 1) => {
    expect(() => spec(of(value))).not.toThrow()
    expect(() => spec(of(value + step))).toThrow(AppError)
  }
  at(limits.stdioEnvMax, (count) => ({ env: env(count) }))
  at(limits.stdioEnvValueLengthMax, (length) => ({ env: { A: 'x'.repeat(length) } }))
  at(limits.nameLengthMax, (length) => ({ env: { ['V'.repeat(length)]: '' } }))
  at(limits.stdioAllowMax, allow)
  at(limits.stdioCommandLengthMax - 1, (length) => ({ sandbox: true, allow: [`/${'x'.repeat(length)}`] }))
  at(limits.stdioCommandLengthMax, (length) => ({ command: ['x'.repeat(length)] }))
  // The blanks between arguments count as well.
  at(limits.stdioCommandLengthMax - 2, (length) => ({ command: ['x', 'x'.repeat(length)] }))
  at(limits.stdioIdleMsMax, (idleMs) => ({ idleMs }))
  at(limits.stdioMemoryBytesMin, (memoryBytes) => ({ memoryBytes }), -1)
  at(32, (length) => ({ user: 'x'.repeat(length) }))
})

test('what may be told of it holds names of variables, and no value', () => {
  const told = publicSpec(spec({ env: { TOKEN: VALUE } }))
  expect(told.env).toEqual(['TOKEN'])
  expect(JSON.stringify(told)).not.toContain(VALUE)
})
