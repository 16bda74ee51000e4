import { expect, test } from 'bun:test'
import { SELFTEST_STEPS } from '../../src/selftest.ts'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { readPage } from '../support/markdown.ts'
import { HELPERS } from './world.ts'

test.if(mayRunGuides())('the test of a revocation goes as it is told', async () => {
  const ran = await runGuide('docs/selftest.md', { before: `${HELPERS}\nnode\n` })
  expectShown(ran)
  expect(ran.map(({ code }) => code)).toEqual(ran.map(() => 0))
})

test('every step is explained', () => {
  const told = readPage('docs/selftest.md').prose.flatMap(
    ({ text }) => /^\| (`.*?) \|/.exec(text)?.[1]?.match(/\w+/g) ?? [],
  )
  expect(told.toSorted()).toEqual(Object.keys(SELFTEST_STEPS).toSorted())
})
