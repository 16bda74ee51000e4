import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EmergencyEntry } from '../../src/emergency.ts'
import { openJournal } from '../../src/store/journal.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const BYTES = 4_096
let folder: string
let file: string
beforeEach(() => {
  folder = tempFolder()
  file = join(folder, 'journal')
})
afterEach(() => removeFolder(folder))

const entry = (id: string, note = ''): EmergencyEntry => ({
  op: 'revocation',
  record: { id, at: 1, actor: 'local:0', reason: 'other', note, selector: { all: true }, tokens: [] },
})
const ids = (entries: EmergencyEntry[]) => entries.map(({ record }) => record.id)
/** As after a crash: nothing of it was closed in order. */
const reopened = () => {
  const journal = openJournal(file, BYTES)
  return { journal, read: ids(journal.read()) }
}

test('its room is there from the start, and for its owner alone', () => {
  openJournal(file, BYTES)
  const { size, blocks, mode } = statSync(file)
  expect([size, blocks * 512 >= BYTES, (mode & 0o777).toString(8)]).toEqual([BYTES, true, '600'])
})

test('what was appended is read, in order, also after a crash', () => {
  const journal = openJournal(file, BYTES)
  expect(journal.read()).toEqual([])
  journal.append(entry('a', 'ä\n☃'))
  journal.append(entry('b'))
  const { journal: second, read } = reopened()
  expect(read).toEqual(['a', 'b'])
  expect(second.read()[0]).toEqual(entry('a', 'ä\n☃'))
  second.append(entry('c'))
  expect(reopened().read).toEqual(['a', 'b', 'c'])
  expect(statSync(file).size).toBe(BYTES)
})

test('cleared, it is empty, and takes as much as at first', () => {
  const { journal } = reopened()
  for (let round = 0; round < 5; round += 1) {
    for (let index = 0; index < 10; index += 1) journal.append(entry(`${round} ${index}`, 'x'.repeat(200)))
    journal.clear()
    expect(reopened().read).toEqual([])
  }
  journal.append(entry('last'))
  expect(reopened().read).toEqual(['last'])
})

test('what a power cut left behind the end is never read as a part of what comes later', () => {
  const { journal } = reopened()
  journal.append(entry('a'))
  const { length } = readFileSync(file).toString().replaceAll('\0', '')
  const left = Buffer.from('piece of another line"}\n')
  for (const at of [length + 30, length * 2, length * 2 - 5, BYTES - left.length]) {
    const content = readFileSync(file)
    content.fill(0, length)
    left.copy(content, at)
    writeFileSync(file, content)
    const { journal: next, read } = reopened()
    expect(read).toEqual(['a'])
    next.append(entry('b'))
    expect(reopened().read).toEqual(['a', 'b'])
    next.append(entry('c'))
    expect(reopened().read).toEqual(['a', 'b', 'c'])
  }
})

test('what does not fit is refused whole', () => {
  const { journal } = reopened()
  journal.append(entry('fits'))
  expect(() => journal.append(entry('too large', 'x'.repeat(BYTES)))).toThrow(/full/)
  journal.append(entry('fits still'))
  expect(reopened().read).toEqual(['fits', 'fits still'])
  expect(statSync(file).size).toBe(BYTES)
})

describe('a line that a crash cut short', () => {
  test.each([1, 10, 60])('%d bytes of it: not read, and written over', (bytes) => {
    const { journal } = reopened()
    journal.append(entry('whole'))
    const before = readFileSync(file)
    const end = before.indexOf(0)
    const torn = Buffer.from(JSON.stringify(entry('torn', 'x'.repeat(100)))).subarray(0, bytes)
    before.set(torn, end)
    writeFileSync(file, before)
    const { journal: second, read } = reopened()
    expect(read).toEqual(['whole'])
    second.append(entry('next'))
    expect(reopened().read).toEqual(['whole', 'next'])
  })
})

test('a file that is longer than told keeps what is in it', () => {
  const { journal } = reopened()
  journal.append(entry('kept'))
  appendFileSync(file, Buffer.alloc(BYTES))
  expect(reopened().read).toEqual(['kept'])
})

test('an entry of a newer version is not taken for one of ours', () => {
  const journal = openJournal(file, BYTES)
  journal.append(entry('a'))
  journal.append({ ...entry('b'), op: 'of the future' } as unknown as EmergencyEntry)
  expect(() => openJournal(file, BYTES).read()).toThrow(/journal: line 2 is not known to this version: start the newer/)
})
