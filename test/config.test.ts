import { join } from 'node:path'
import { expect, test } from 'bun:test'
import { loadConfig, secretFilesOf } from '../src/config.ts'
import { removeFolder, tempFolder } from './support/temp.ts'

test('all files that hold secrets of the node are known, so that no sandbox shows them', () => {
  const data = tempFolder()
  const of = (...args: string[]) => secretFilesOf(loadConfig(['--data', data, ...args], {}, false))
  expect(of()).toEqual([join(data, 'portcullis.key')])
  const nats = ['--cluster-nats', 'nats://127.0.0.1:4222', '--cluster-nats-creds', '/dev/null']
  expect(of('--key-file', '/srv/own.key', ...nats)).toEqual(['/srv/own.key', '/dev/null'])
  removeFolder(data)
})
