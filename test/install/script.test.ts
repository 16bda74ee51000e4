import { expect, test } from 'bun:test'
import { join } from 'node:path'

const SCRIPT = join(import.meta.dir, '../../install.sh')

const LEFT_OUT = [
  // Braces around each name, and a last case that says nothing, make it longer and no safer.
  'SC2250',
  'SC2249',
  // It means to go on where a function in a condition fails: `die` ends it whatever `set -e` does.
  'SC2310',
  'SC2312',
]

const lint = (args: string[]) => Bun.spawnSync(['shellcheck', '--shell=sh', '--enable=all', ...args, SCRIPT])

test('shellcheck finds nothing in install.sh', () => {
  if (!Bun.which('shellcheck') && !process.env['CI']) return console.warn('SKIPPED LOUDLY: there is no shellcheck')
  const { exitCode, stdout } = lint([`--exclude=${LEFT_OUT.join(',')}`])
  expect(stdout.toString()).toBe('')
  expect(exitCode).toBe(0)
})

test.each(['dash', 'busybox sh'])('%s can read it', (shell) => {
  const { exitCode, stderr } = Bun.spawnSync([...shell.split(' '), '-n', SCRIPT])
  expect(stderr.toString()).toBe('')
  expect(exitCode).toBe(0)
})

test('it is POSIX: nothing that only some shells know, and no line wider than 120', async () => {
  const text = await Bun.file(SCRIPT).text()
  expect(text).toStartWith('#!/bin/sh\n')
  expect(text).not.toMatch(/\[\[|^\s*(?:local|declare|function) |<\(|\bcurl\b|\bwget\b/m)
  expect(text.split('\n').filter((line) => line.length > 120)).toEqual([])
})
