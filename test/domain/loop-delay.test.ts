import { expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import { LoopDelay } from '../../src/loop-delay.ts'
import { eventually } from '../support/poll.ts'

const started = (loopMaxMs: number) => {
  const loop = new LoopDelay({ ...limits, loopTickMs: 5, loopMaxMs })
  loop.start()
  return {
    loop,
    count: () => loop.delays.counts.reduce((sum, own) => sum + own, 0),
    [Symbol.dispose]: () => loop.stop(),
  }
}

const block = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

test('a loop that was held is one delay, as long as that', async () => {
  const startedAt = performance.now()
  using run = started(60_000)
  const { loop, count } = run
  await eventually(() => count() > 2)
  const before = count()
  block(300)
  expect(count()).toBe(before)
  await eventually(() => loop.maxMs >= 290)
  expect(loop.delays.sumMs).toBeGreaterThanOrEqual(loop.maxMs)
  // It can't have been held for longer than it was looked at: nothing is counted twice.
  expect(loop.delays.sumMs).toBeLessThan(performance.now() - startedAt)
})

test('the longest delay is remembered for a while, whoever asks, and then forgotten', async () => {
  using run = started(100)
  const { loop } = run
  await eventually(() => run.count() > 2)
  block(400)
  await eventually(() => loop.maxMs >= 390)
  expect(loop.maxMs).toBeGreaterThanOrEqual(390)
  await eventually(() => loop.maxMs < 390)
})

test('nothing is measured after it was stopped', async () => {
  using stopped = started(60_000)
  await eventually(() => stopped.count() > 0)
  stopped.loop.stop()
  const before = stopped.count()
  using other = started(60_000)
  await eventually(() => other.count() > 5)
  expect(stopped.count()).toBe(before)
})
