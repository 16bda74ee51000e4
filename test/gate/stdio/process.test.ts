import { afterEach, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import { descendantsOf } from '../../../src/gate/stdio/descendants.ts'
import { ProblemError } from '../../../src/gate/problem.ts'
import { limits } from '../../../src/limits.ts'
import { eventually } from '../../support/poll.ts'
import { groupOf, lives, program, readFrom, stdioProcesses, writtenBy } from '../../support/stdio-process.ts'

const MEBIBYTE = 1024 * 1024

type Processes = ReturnType<typeof stdioProcesses>
let open: Processes | null = null
const processes = (given: Parameters<typeof stdioProcesses>[0] = {}): Processes => (open = stdioProcesses(given))
afterEach(async () => {
  await open?.end()
  open = null
})

const note = (text: string): JSONRPCMessage => ({ jsonrpc: '2.0', method: 'note', params: { text } })
const slugOf = (error: unknown) => (error instanceof ProblemError ? error.problem.slug : error)
const pidsOf = async (said: (method: string) => Promise<Record<string, unknown>>) =>
  (await said('family'))['pids'] as number[]

test('messages go in and come out, whole and in order', async () => {
  const { process: child, messages } = await processes().run({ command: ['cat'] })
  const sent = Array.from({ length: 500 }, (_, index) => note(`${index} é ${'x'.repeat(index * 10)}`))
  await Promise.all(sent.map((message) => child.send(message)))
  await eventually(() => messages.length === sent.length)
  expect(messages).toEqual(sent)
})

test('nothing is read before the start', async () => {
  const { process: child, messages } = await processes().spawn({ command: program('raw', 'facts') })
  await eventually(() => writtenBy(child.pid) > 0)
  await child.send(note('early'))
  expect(messages).toEqual([])
  await child.start()
  await eventually(() => messages.length === 2)
})

test('what is no message on its output is told as such, and costs no message', async () => {
  const { messages, stderr, said } = await processes().run({ command: program('raw', 'banner') })
  await said('second')
  expect(messages.map((message) => 'method' in message && message.method)).toEqual(['first', 'second'])
  expect(stderr).toEqual(['stdout: Welcome!', 'stdout: {"not":"json-rpc"}', 'stdout: null'])
})

test('a batch is read as its messages', async () => {
  const batch = JSON.stringify([note('a'), note('b')])
  const { messages } = await processes().run({ command: ['sh', '-c', `echo '${batch}'; cat`] })
  await eventually(() => messages.length === 2)
  expect(messages).toEqual([note('a'), note('b')])
})

test('a line may be as long as the limit; one byte more ends the process, and says so', async () => {
  const { run } = processes()
  const most = await run({ command: program('raw', 'line', String(limits.stdioLineBytesMax)) })
  expect(String((await most.said('line'))['filler']).length).toBeGreaterThan(limits.stdioLineBytesMax - 100)
  expect(most.process.end).toBeNull()
  const over = await run({ command: program('raw', 'line', String(limits.stdioLineBytesMax + 1)) })
  const end = await over.process.ended
  expect(end).toMatchObject({ crashed: true, detail: 'a line of more than 16MiB on its standard output' })
  expect(over.messages).toEqual([])
})

test('what would take long to read ends the process: too deep, or too many values', async () => {
  const { run } = processes({ limits: { stdioValuesMax: 300 } })
  const saying = (value: string) => {
    const script = `printf '%s\\n' '{"jsonrpc":"2.0","method":"note","params":{"a":${value}}}'; cat`
    return run({ command: ['sh', '-c', script] })
  }
  const deep = (levels: number) => saying('['.repeat(levels) + ']'.repeat(levels))
  // Two levels are around it.
  await (await deep(limits.rpcDepthMax - 2)).said('note')
  expect((await (await deep(limits.rpcDepthMax - 1)).process.ended).detail).toBe(
    'a message nested deeper than 200 levels',
  )
  // The message, its three members, the parameters, and the list.
  const many = (values: number) => saying(`[${Array.from({ length: values }, () => '"a,{[,"').join()}]`)
  await (await many(300 - 5)).said('note')
  expect(await (await many(300 - 4)).process.ended).toMatchObject({
    ...{ crashed: true, detail: 'a message of more than 300 values' },
  })
})

test('a line that never ends costs no more memory than the longest line', async () => {
  const { run } = processes()
  const before = process.memoryUsage().rss
  const { process: child } = await run({ command: program('raw', 'endless') })
  expect(await child.ended).toMatchObject({ crashed: true })
  expect(process.memoryUsage().rss - before).toBeLessThan(6 * limits.stdioLineBytesMax)
})

test('who is not read waits; nothing is lost when it is read again', async () => {
  const { run } = processes()
  const { process: child, messages } = await run({ command: program('raw', 'flood', '1000') })
  let most = Number.POSITIVE_INFINITY
  child.onmessage = (message) => {
    messages.push(message)
    if (messages.length >= most) child.pause()
  }
  const waits = () => {
    const counted = messages.length
    // It stands still between two looks a while apart.
    let written = -1
    return eventually(
      () => {
        const now = writtenBy(child.pid)
        const still = now === written
        written = now
        return still
      },
      { everyMs: 100 },
    ).then(() => {
      expect(messages.length).toBe(counted)
      return written
    })
  }
  most = 10
  await eventually(() => messages.length >= 10)
  const atFirst = messages.length
  const written = await waits()
  expect(messages.length).toBe(atFirst)
  const heap = process.memoryUsage().rss
  expect(written).toBeLessThan(atFirst * 1_100 + 2 * MEBIBYTE)
  most = atFirst + 5_000
  child.resume()
  await eventually(() => messages.length >= most)
  await waits()
  expect(messages.length).toBe(most)
  expect(process.memoryUsage().rss - heap).toBeLessThan(64 * MEBIBYTE)
  expect(messages.map((message) => 'params' in message && message.params?.['n'])).toEqual(
    Array.from({ length: most }, (_, index) => index + 1),
  )
})

/** Says that it is there, reads nothing until it gets SIGUSR1, and ignores SIGTERM; then it is `command`. */
const late = (command: string): string[] => {
  const ready = JSON.stringify({ jsonrpc: '2.0', method: 'ready' })
  const script = `trap '' TERM; trap go=1 USR1; echo '${ready}'; until [ "$go" ]; do sleep 0.05; done; exec ${command}`
  return ['bash', '-c', script]
}

test('to a process that does not read, one message more than fits is refused; then it may read them all', async () => {
  const most = MEBIBYTE
  const { run } = processes({ limits: { stdioInputBytesMax: most } })
  const { process: child, messages, said } = await run({ command: late('cat') })
  await said('ready')
  const message = note('x'.repeat(10_000))
  const length = JSON.stringify(message).length + 1
  let sent = 0
  const refused = await (async () => {
    for (;;) {
      try {
        await child.send(message)
      } catch (error) {
        return error
      }
      sent += 1
    }
  })()
  expect(slugOf(refused)).toBe('server-not-reading')
  // The kernel holds some more.
  expect(sent * length).toBeGreaterThan(most - length)
  expect(sent * length).toBeLessThan(2 * most)
  process.kill(child.pid, 'SIGUSR1')
  await eventually(() => messages.length === sent + 1, { timeoutMs: 15_000 })
  await child.send(message)
  await eventually(() => messages.length === sent + 2)
})

test('from the moment it is muted nothing goes in, and nothing comes out', async () => {
  const { run } = processes()
  const { process: child, messages } = await run({ command: program('raw', 'flood', '10000') })
  await eventually(() => messages.length > 100)
  child.pause()
  child.mute()
  const counted = messages.length
  const written = writtenBy(child.pid)
  expect(slugOf(await child.send(note('late')).catch((error: unknown) => error))).toBe('server-exited')
  // It is still read, or it could not end by itself; only nobody hears it.
  const before = process.memoryUsage().rss
  await eventually(() => writtenBy(child.pid) > written + 256 * MEBIBYTE, { timeoutMs: 20_000 })
  expect(process.memoryUsage().rss - before).toBeLessThan(128 * MEBIBYTE)
  expect(messages.length).toBe(counted)
})

test('what waited for a process is not written when it was muted', async () => {
  const { run } = processes()
  // It counts its input up to the end, which is all that a stop is to it.
  const { process: child, stderr, said } = await run({ command: late('wc -c >&2') })
  await said('ready')
  const each = 10_000
  for (let sent = 0; sent < 100; sent += 1) await child.send(note('x'.repeat(each)))
  child.mute()
  process.kill(child.pid, 'SIGUSR1')
  // What the kernel had taken is all that arrives, also when there is room for more.
  await eventually(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'wc\n')
  let read = -1
  await eventually(
    () => {
      const still = readFrom(child.pid) === read
      read = readFrom(child.pid)
      return still
    },
    { everyMs: 50 },
  )
  child.stop()
  expect(await child.ended).toMatchObject({ code: 0 })
  expect(Number(stderr[0])).toBeGreaterThan(each)
  expect(Number(stderr[0])).toBeLessThan(50 * each)
})

test('a crash says how, and its last words come before the end', async () => {
  const { run } = processes()
  const of = async (...args: string[]) => (await run({ command: program('raw', ...args) })).process.ended
  expect(await of('exit', '10', '5')).toEqual({ code: 5, signal: null, crashed: true, detail: 'exit code 5' })
  expect(await of('exit', '10', '0')).toEqual({ code: 0, signal: null, crashed: true, detail: 'exit code 0' })
  expect(await of('signal', '10', 'SIGKILL')).toEqual({
    ...{ code: null, signal: 'SIGKILL', crashed: true, detail: 'SIGKILL' },
  })
  expect((await of('signal', '10', 'SIGABRT')).detail).toBe(
    'SIGABRT: it crashed, or found no memory under its limit of 1GiB',
  )
  const last = await run({
    command: ['sh', '-c', `echo '${JSON.stringify(note('last'))}'; printf 'why it ends' >&2; exit 9`],
  })
  const order: string[] = []
  last.process.onmessage = () => order.push('message')
  last.process.onclose = () => order.push('close')
  expect((await last.process.ended).detail).toBe('exit code 9')
  expect(order).toEqual(['message', 'close'])
  expect(last.stderr).toEqual(['why it ends'])
  expect(slugOf(await last.process.send(note('late')).catch((error: unknown) => error))).toBe('server-exited')
})

test('last words are heard also when nobody wanted to read just then', async () => {
  const { spawn } = processes()
  const last = await spawn({ command: ['sh', '-c', `echo '${JSON.stringify(note('last'))}'`] })
  expect(await last.process.ended).toMatchObject({ code: 0 })
  expect(last.messages).toEqual([note('last')])
})

test('memory and CPU time of a process have a limit', async () => {
  const { run } = processes()
  const memory = (mebibytes: number) =>
    run({ command: program('raw', 'memory', String(mebibytes)), memoryBytes: 768 * MEBIBYTE })
  expect(await (await memory(128)).said('memory')).toEqual({ mebibytes: 128 })
  const over = await memory(1_024)
  expect(await over.process.ended).toMatchObject({ crashed: true })
  expect(over.messages).toEqual([])
  const busy = await run({ command: program('raw', 'cpu'), cpuTimeMs: 1_000 })
  expect(await busy.process.ended).toMatchObject({
    ...{ signal: 'SIGXCPU', crashed: true, detail: 'killed: out of CPU time (SIGXCPU)' },
  })
})

test('asked to end, it ends as it likes; an end that was asked for is no crash', async () => {
  const { run } = processes()
  const gentle = await run({
    command: ['bash', '-c', 'trap "echo bye >&2; exit 4" TERM; echo hi >&2; sleep 60 & wait'],
  })
  await eventually(() => gentle.stderr.length === 1)
  gentle.process.stop()
  expect(await gentle.process.ended).toEqual({ code: 4, signal: null, crashed: false, detail: 'exit code 4' })
  expect(gentle.stderr).toEqual(['hi', 'bye'])
  expect(groupOf(gentle.process.pid)).toEqual([])
})

test('who ignores the end of its input and SIGTERM is killed after the grace, with its whole family', async () => {
  const { run } = processes({ limits: { stdioGraceMs: 300 } })
  const { process: child, said } = await run({ command: program('raw', 'family') })
  const pids = await pidsOf(said)
  expect(pids).toHaveLength(3)
  child.stop()
  expect(pids.every(lives)).toBe(true)
  expect(await child.ended).toMatchObject({ signal: 'SIGKILL', crashed: false })
  await eventually(() => !pids.some(lives))
})

test('who left the group is ended with it, whether its leader ends at once or is made to', async () => {
  const { run } = processes({ limits: { stdioGraceMs: 200 } })
  const ready = JSON.stringify({ jsonrpc: '2.0', method: 'ready' })
  for (const ends of ['cat', 'trap "" TERM; while :; do sleep 1; done']) {
    // As browsers are started: in a session of their own.
    const script = `setsid sh -c 'trap "" TERM; echo $$ >&2; while :; do sleep 1; done' & echo '${ready}'; ${ends}`
    const { process: child, stderr, said } = await run({ command: ['sh', '-c', script] })
    await said('ready')
    await eventually(() => stderr.length === 1)
    const left = Number(stderr[0])
    expect(groupOf(child.pid)).not.toContain(left)
    child.stop()
    await child.ended
    await eventually(() => !lives(left))
  }
})

test('so many descendants are looked for, and no more', async () => {
  const { run } = processes()
  const ready = JSON.stringify({ jsonrpc: '2.0', method: 'ready' })
  const script = `for n in 1 2 3 4 5; do sleep 60 & done; sh -c 'sleep 60; :' & echo '${ready}'; cat`
  const { process: child, said } = await run({ command: ['sh', '-c', script] })
  await said('ready')
  const count = (max: number) => descendantsOf(child.pid, max).length
  // Five, a shell and what it runs, and cat.
  await eventually(() => count(100) === 8)
  expect([0, 1, 4, 7, 8, 9].map(count)).toEqual([0, 1, 4, 7, 8, 8])
})

test('a leader that ends at once, or by itself, takes its family with it', async () => {
  const { run } = processes()
  const asked = await run({ command: program('raw', 'orphan') })
  const family = await pidsOf(asked.said)
  asked.process.stop()
  expect(await asked.process.ended).toMatchObject({ code: 0, crashed: false })
  await eventually(() => !family.some(lives), { timeoutMs: limits.stdioGraceMs / 2 })

  const runaway = await run({ command: program('raw', 'runaway', '50') })
  const others = await pidsOf(runaway.said)
  expect(await runaway.process.ended).toMatchObject({ code: 3, crashed: true })
  await eventually(() => !others.some(lives))
})

test('stopped in the moment it was started, its command never runs', async () => {
  const { spawn } = processes()
  const { process: child, stderr } = await spawn({ command: ['sh', '-c', 'echo ran >&2; sleep 60'] })
  child.stop()
  expect(await child.ended).toMatchObject({ crashed: false })
  expect(stderr).toEqual([])
})

test('a flood on the standard error is read at a bounded pace, and cut into bounded lines', async () => {
  const { run } = processes({ limits: { stdioStderrBytesPerSecond: 400_000, stdioStderrLineLengthMax: 100 } })
  const startedAt = performance.now()
  // 1,000 lines of 1,000 bytes: twice the pace, and what a pipe holds.
  const { stderr, said } = await run({ command: program('raw', 'stderr', '1000', 'x'.repeat(996)) })
  await said('said')
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  await eventually(() => stderr.length === 1_000)
  expect(Math.max(...stderr.map((line) => line.length))).toBe(400)
})

test('a flood of what is no message is read at a bounded pace too', async () => {
  const { run } = processes({ limits: { stdioStderrBytesPerSecond: 400_000 } })
  const startedAt = performance.now()
  const script = `yes ${'x'.repeat(999)} | head -1000; echo '${JSON.stringify(note('last'))}'; cat`
  const { stderr, said } = await run({ command: ['sh', '-c', script] })
  await said('note')
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  expect(stderr).toHaveLength(1_000)
})

test('a flood of small messages leaves the loop its turns', async () => {
  const { run } = processes({ limits: { stdioLinesPerTurn: 10 } })
  const { process: child, messages } = await run({ command: program('raw', 'flood', '1') })
  let most = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = (before: number) => {
    most = Math.max(most, messages.length - before)
    if (messages.length > 20_000) resolve()
    else setImmediate(look, messages.length)
  }
  look(0)
  await promise
  child.mute()
  expect(messages.map((message) => 'params' in message && message.params?.['n'])).toEqual(
    Array.from({ length: messages.length }, (_, index) => index + 1),
  )
  // One turn of its own, and one that arriving bytes made.
  expect(most).toBeLessThanOrEqual(20)
})

test('lines that are left when a process has ended are told in turns too, and all before the end', async () => {
  const { spawn } = processes({ limits: { stdioLinesPerTurn: 1 } })
  const script = `yes '${JSON.stringify(note('x'))}' | head -500; seq 500 >&2`
  const { process: child, messages, stderr } = await spawn({ command: ['sh', '-c', script] })
  const atClose: number[][] = []
  child.onclose = () => atClose.push([messages.length, stderr.length])
  await child.ended
  expect(atClose).toEqual([[500, 500]])
})

test('nothing is told after the end, though its pipes were closed before all was told', async () => {
  const { spawn } = processes({ limits: { stdioLinesPerTurn: 1, stdioDrainMs: 1 } })
  // Who holds the pipe open has left the group.
  const script = `yes '${JSON.stringify(note('x'))}' | head -2000; setsid sleep 2 &`
  const { process: child, messages } = await spawn({ command: ['sh', '-c', script] })
  let atClose = -1
  child.onclose = () => (atClose = messages.length)
  await child.ended
  for (let turn = 0; turn < 3_000; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  expect(messages.length).toBe(atClose)
  expect(atClose).toBeGreaterThan(0)
})

test('2,000 processes leave none, no descriptor, and nothing for the reaper', async () => {
  const { run, reaper } = processes()
  const descriptors = () => readdirSync('/proc/self/fd').length
  const groups: number[] = []
  const one = async () => {
    const { process: child, messages } = await run({ command: ['cat'] })
    groups.push(child.pid)
    await child.send(note('hello'))
    await eventually(() => messages.length === 1)
    child.stop()
    expect(await child.ended).toMatchObject({ crashed: false })
  }
  await one()
  const before = descriptors()
  const each = Array.from({ length: 8 }, async () => {
    while (groups.length < 2_000) await one()
  })
  await Promise.all(each)
  expect(groups.length).toBeGreaterThanOrEqual(2_000)
  expect(groups.filter(lives)).toEqual([])
  expect(groups.flatMap((pgid) => (lives(pgid) ? groupOf(pgid) : []))).toEqual([])
  await eventually(() => descriptors() <= before)
  expect(reaper.watched).toBe(0)
}, 60_000)
