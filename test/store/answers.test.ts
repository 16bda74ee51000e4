import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { AnswerStore } from '../../src/store/answers.ts'
import { openStore } from '../../src/store/open.ts'
import { tempFolder } from '../support/temp.ts'

const answer = { request: 'hash', status: 201, response: '{}', location: null }

test('kept answers are forgotten when they are too old, and the oldest when they are too many', () => {
  const folder = tempFolder()
  let now = 1_000
  const store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.0', now: () => now })
  const answers = new AnswerStore(store, 100, 3)
  for (const key of ['a', 'b', 'c', 'd']) {
    now += 10
    answers.keep('local:0', key, answer)
  }
  answers.prune()
  const known = () => ['a', 'b', 'c', 'd'].filter((key) => answers.find('local:0', key) !== null)
  expect(known()).toEqual(['b', 'c', 'd'])
  expect(answers.find('local:1', 'b')).toBeNull()
  // c was kept at 1,030 and lives 100 ms.
  now = 1_130
  expect(known()).toEqual(['d'])
  answers.prune()
  now = 1_000
  expect(known()).toEqual(['d'])
  store.close()
})
