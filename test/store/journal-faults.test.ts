import { beforeEach, expect, mock, test } from 'bun:test'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { Emergency, type EmergencyEntry } from '../../src/emergency.ts'
import { limits } from '../../src/limits.ts'
import { tempFolder } from '../support/temp.ts'

/** A disk that refuses to sync, or to write more than so many bytes at once. */
const disk = { failingSyncs: 0, bytesMax: Infinity }
const { fdatasyncSync, writeSync } = fs
await mock.module('node:fs', () => ({
  ...fs,
  fdatasyncSync(fd: number) {
    if (disk.failingSyncs > 0) {
      disk.failingSyncs -= 1
      throw new Error('EIO: fdatasync')
    }
    fdatasyncSync(fd)
  },
  writeSync: (fd: number, bytes: Uint8Array, offset: number, length: number, position: number) =>
    writeSync(fd, bytes, offset, Math.min(length, disk.bytesMax), position),
}))
const { openJournal } = await import('../../src/store/journal.ts')

const entry = (id: string, note = ''): EmergencyEntry => ({
  op: 'revocation',
  record: { id, at: 1, actor: 'local:0', reason: 'other', note, selector: { all: true }, tokens: [] },
})
let file: string
const opened = () => openJournal(file, 4096)
/** What the next start would find. */
const ids = () =>
  opened()
    .read()
    .map(({ record }) => record.id)

beforeEach(() => {
  file = join(tempFolder(), 'journal')
  disk.failingSyncs = 0
  disk.bytesMax = Infinity
})

test('after a line that could not be synced, a shorter one is not followed by its rest', () => {
  const journal = opened()
  journal.append(entry('first'))
  disk.failingSyncs = 1
  expect(() => journal.append(entry('long', 'x'.repeat(500)))).toThrow('EIO')
  journal.append(entry('short'))
  expect(ids()).toEqual(['first', 'short'])
})

test('after a clearing that could not be synced, the next line is read', () => {
  const journal = opened()
  journal.append(entry('first'))
  disk.failingSyncs = 1
  expect(() => journal.clear()).toThrow('EIO')
  journal.append(entry('second'))
  expect(ids()).toEqual(['second'])
})

test('what could not be wiped takes no further line', () => {
  const journal = opened()
  journal.append(entry('first'))
  disk.failingSyncs = 2
  expect(() => journal.clear()).toThrow('EIO')
  expect(() => journal.append(entry('second'))).toThrow('EIO')
  journal.append(entry('third'))
  expect(ids()).toEqual(['third'])
})

test('a line that is taken in pieces is whole', () => {
  const journal = opened()
  disk.bytesMax = 7
  journal.append(entry('pieces', 'x'.repeat(100)))
  expect(ids()).toEqual(['pieces'])
})

const emergencyOn = (journal: ReturnType<typeof opened>) => {
  const applied: string[] = []
  const database = { full: true }
  const store = {
    applyEmergency({ record }: EmergencyEntry) {
      if (database.full) throw new Error('database or disk is full')
      applied.push(record.id)
    },
  }
  const emergency = new Emergency(store, journal, { ...limits, journalRetryMs: 1e9 }, () => undefined)
  return { emergency, database, applied }
}

test('it is told where a change stands, and the journal is asked again', () => {
  const journal = opened()
  const { emergency, database, applied } = emergencyOn(journal)
  disk.failingSyncs = 1
  const first = entry('first')
  expect(emergency.commit(first)).toBe('memory')
  expect(emergency.keptBy(first)).toBe('memory')
  expect(emergency.problem).toMatch(/database or disk is full; the journal can't be written either: EIO/)
  const second = entry('second')
  expect(emergency.commit(second)).toBe('journal')
  // The first is there too by now.
  expect([emergency.keptBy(first), emergency.keptBy(second), ids()]).toEqual([
    'journal',
    'journal',
    ['first', 'second'],
  ])
  database.full = false
  expect(emergency.commit(entry('third'))).toBe('database')
  expect([applied, ids(), emergency.problem]).toEqual([['first', 'second', 'third'], [], null])
  emergency.stop()
})

test('a journal that can not be cleared holds up nothing, and is no secret', () => {
  const journal = opened()
  const { emergency, database, applied } = emergencyOn(journal)
  emergency.commit(entry('first'))
  database.full = false
  disk.failingSyncs = 2
  expect(emergency.commit(entry('second'))).toBe('database')
  expect([applied, emergency.problem]).toEqual([
    ['first', 'second'],
    expect.stringMatching(/the journal can't be cleared: EIO/),
  ])
  expect(emergency.flush()).toBe(true)
  expect(emergency.problem).not.toBeNull()
  expect([emergency.flush(), emergency.problem, ids()]).toEqual([true, null, []])
  // What is in the database is not put there again.
  expect(applied).toEqual(['first', 'second'])
  emergency.stop()
})
