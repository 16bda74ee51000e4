import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { StderrLog } from '../../../src/gate/stdio/stderr.ts'
import { limits } from '../../../src/limits.ts'
import { generateSecret } from '../../../src/secret.ts'

/** A log whose clock stands still unless a test moves it. */
const start = (env: [string, string][] = []) => {
  const written: { line: string; pid: number }[] = []
  const time = { ms: 0 }
  const log = new StderrLog({
    limits,
    now: () => 1_000 + time.ms,
    stopwatch: () => time.ms,
    write: (line, pid) => void written.push({ line, pid }),
  })
  log.hide(env)
  return { log, written, time, shown: () => log.tail.map(({ line }) => line) }
}

test('lines are logged with their process, and kept with their time', () => {
  const { log, written, time } = start()
  log.line('ready', 7)
  time.ms = 5
  log.line('asked', 8)
  expect(written).toEqual([
    { line: 'ready', pid: 7 },
    { line: 'asked', pid: 8 },
  ])
  expect(log.tail).toEqual([
    { at: 1_000, line: 'ready' },
    { at: 1_005, line: 'asked' },
  ])
})

test('no secret is logged or kept', () => {
  const token = generateSecret('pcl_')
  const key = generateSecret('pca_')
  const env: [string, string][] = [
    ['PASSWORD', 'pa ss"w/ord'],
    ['KEY', 'first line of it\nsecond line of it'],
    ['SHORT', 'on'],
  ]
  const { log, written, shown } = start(env)
  const lines = [
    `token ${token} and key ${key}`,
    'password pa ss"w/ord, again pa ss"w/ord',
    `as JSON ${JSON.stringify({ password: 'pa ss"w/ord' })}`,
    `in a URL ?p=${encodeURIComponent('pa ss"w/ord')}&x`,
    'authorization: bearer abc.def-ghi, Bearer xyz',
    'second line of it',
    'it is on',
  ]
  for (const line of lines) log.line(line, 1)
  expect(shown()).toEqual([
    'token pcl_… and key pca_…',
    'password ***, again ***',
    'as JSON {"password":"***"}',
    'in a URL ?p=***&x',
    'authorization: Bearer *** Bearer ***',
    '***',
    'it is on',
  ])
  expect(written.map(({ line }) => line)).toEqual(shown())
})

test('a value that is changed is hidden in the lines of then, and the new one from then on', () => {
  const { log, shown } = start([['KEY', 'old-secret']])
  log.line('old-secret new-secret', 1)
  log.hide([['KEY', 'new-secret']])
  log.line('old-secret new-secret', 1)
  expect(shown()).toEqual(['*** new-secret', 'old-secret ***'])
})

test('control characters, colours and tabs do nothing to a terminal', () => {
  const { log, shown } = start()
  log.line('\u001b[31mred\u001b[0m \u001b]0;title\u0007a\tb\u0008\u202e\r', 1)
  expect(shown()).toEqual(['red a  b\ufffd\ufffd'])
})

test('a long line is cut, and no secret is cut in two', () => {
  const max = limits.stdioStderrLineLengthMax
  const { log, shown } = start([['KEY', 'very-secret-value']])
  log.line('x'.repeat(max), 1)
  log.line('x'.repeat(max + 1), 1)
  expect(shown()).toEqual(['x'.repeat(max), `${'x'.repeat(max - 1)}…`])
  const secrets = ['very-secret-value', generateSecret('pcl_')]
  fc.assert(
    fc.property(fc.constantFrom(...secrets), fc.integer({ min: max * 4 - 60, max: max * 4 }), (secret, length) => {
      // What is taken out leaves room for what stood far behind.
      const kept = start([['KEY', 'very-secret-value']])
      const before = 'very-secret-value '.repeat(Math.floor(length / 18))
      kept.log.line(before + 'y'.repeat(length - before.length) + secret.repeat(3), 1)
      const line = kept.shown()[0] as string
      expect(line.length).toBeLessThanOrEqual(max)
      for (const one of secrets) expect(line).not.toContain(one.slice(0, 8))
    }),
  )
})

test('a flood is left out of the log, which says so, and its end is kept', () => {
  const { log, written, time, shown } = start()
  const { stdioStderrBurst: burst, stdioStderrLinesPerSecond: perSecond, stdioStderrTailMax: tailMax } = limits
  for (let line = 0; line < 10_000; line++) log.line(`line ${line}`, 1)
  expect(written).toHaveLength(burst)
  expect(shown()).toEqual(Array.from({ length: tailMax }, (_, place) => `line ${10_000 - tailMax + place}`))

  time.ms = 1_000
  for (let line = 0; line < 100; line++) log.line(`later ${line}`, 1)
  expect(written.slice(burst).map(({ line }) => line)).toEqual([
    `(${10_000 - burst} lines were left out: too many at once)`,
    ...Array.from({ length: perSecond }, (_, line) => `later ${line}`),
  ])
})
