import { expect, test } from 'bun:test'
import { Histogram } from '../../src/histogram.ts'

test('what took as long as a bound is within it; what took longer than all is not lost', () => {
  const histogram = new Histogram([1, 5, 10])
  for (const ms of [0, 1, 1.001, 5, 7, 10, 10.001, 1_000]) histogram.observe(ms)
  expect(histogram.counts).toEqual([2, 2, 2, 2])
  expect(histogram.sumMs).toBeCloseTo(1_034.002, 9)
})
