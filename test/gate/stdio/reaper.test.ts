import { afterEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Reaper } from '../../../src/gate/stdio/reaper.ts'
import type { StdioRequest } from '../../../src/stdio.ts'
import { eventually } from '../../support/poll.ts'
import { groupOf, lives, program, programSeen } from '../../support/stdio-process.ts'
import { tempFolder } from '../../support/temp.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

interface Told {
  reaper: number
  /** Of all that it runs, as they count themselves. */
  pids: number[]
}

/** A process that runs commands as the gate does, and what it tells. */
const startGate = async (...requests: StdioRequest[]) => {
  const folder = tempFolder()
  const script = join(import.meta.dir, '../../support/stdio-gate.ts')
  const gate = Bun.spawn([process.execPath, script, folder, ...requests.map((request) => JSON.stringify(request))], {
    ...{ stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' },
    env: { ...process.env, NODE_ENV: '' },
  })
  ends.push(() => gate.kill('SIGKILL'))
  const told: Told[] = []
  const read = (async () => {
    for await (const line of linesOf(gate.stdout)) told.push(JSON.parse(line) as Told)
  })()
  ends.push(() => read)
  await eventually(() => told.length > 0, { timeoutMs: 20_000, what: 'the gate has started all' })
  return { gate, told, folder, pids: told[0]?.pids as number[] }
}

async function* linesOf(stream: ReadableStream<Uint8Array>) {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of stream) {
    const parts = (text + decoder.decode(chunk, { stream: true })).split('\n')
    text = parts.pop() as string
    yield* parts
  }
}

const FAMILY: StdioRequest = { command: program('raw', 'family') }

test('a gate that is killed leaves none of its processes, nor theirs', async () => {
  const { gate, told, pids } = await startGate(FAMILY, FAMILY)
  const [{ reaper }] = told as [Told]
  expect(pids).toHaveLength(8)
  expect(pids.every(lives)).toBe(true)
  gate.kill('SIGKILL')
  await eventually(() => ![...pids, reaper].some(lives))
})

test.skipIf(Bun.which('bwrap') === null)('nor what it ran in a sandbox', async () => {
  const { gate, pids } = await startGate({ ...FAMILY, sandbox: true, allow: programSeen })
  // In there they count themselves from 1 on.
  const [leader] = pids as [number]
  const group = groupOf(leader)
  expect(group.length).toBeGreaterThanOrEqual(5)
  gate.kill('SIGKILL')
  await eventually(() => !group.some(lives))
})

test('a reaper that was killed is followed by another, which knows all', async () => {
  const { gate, told, pids } = await startGate(FAMILY)
  const [{ reaper }] = told as [Told]
  process.kill(reaper, 'SIGKILL')
  await eventually(() => told.length === 2)
  const second = told[1]?.reaper as number
  expect(second).not.toBe(reaper)
  // Nobody died of it.
  expect(pids.every(lives)).toBe(true)
  gate.kill('SIGKILL')
  await eventually(() => ![...pids, second].some(lives))
})

test('it tells no passer-by whose it is, and does not end by the signals that end all of a service', async () => {
  const { gate, told, folder, pids } = await startGate(FAMILY)
  const [{ reaper }] = told as [Told]
  const seen = ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${reaper}/${file}`, 'utf8')).join('')
  expect(seen).not.toContain('portcullis')
  expect(seen).not.toContain(folder)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(reaper, signal)
  gate.kill('SIGKILL')
  await eventually(() => !pids.some(lives))
  expect(told).toHaveLength(1)
})

test('what is forgotten is left alone, what is watched is not', async () => {
  const reaper = new Reaper()
  const sleepers = Array.from({ length: 5 }, () =>
    Bun.spawn(['sleep', '600'], { detached: true, stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' }),
  )
  ends.push(() => sleepers.forEach((sleeper) => sleeper.kill('SIGKILL')))
  for (const { pid } of sleepers) reaper.watch(pid)
  for (const index of [0, 2, 4]) reaper.forget(sleepers[index]?.pid as number)
  reaper.forget(1)
  reaper.stop()
  await eventually(() => ![1, 3].some((index) => lives(sleepers[index]?.pid as number)))
  expect([0, 2, 4].every((index) => lives(sleepers[index]?.pid as number))).toBe(true)
})
