import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../../src/config.ts'
import type { AuditRowJson } from '../../src/server/api/schemas.ts'
import { VERBS } from '../../src/views/deeds.ts'
import { portcullis } from '../cli/run.ts'
import { readPage } from '../support/markdown.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { actionsInCode } from './reference/audit.ts'
import { errors, slugsInConsole } from './reference/errors.ts'
import { FILES } from './reference/files.ts'
import { pages, written } from './reference/pages.ts'

const FOLDER = join(import.meta.dir, '../../docs/reference')

describe('the reference is what the code says', () => {
  let made: Record<string, string>
  beforeAll(async () => {
    made = await pages()
  })

  test('no page is stale: else run `bun run reference`', () => {
    for (const [name, text] of Object.entries(made))
      expect(written(name), `docs/reference/${name} is stale: bun run reference`).toBe(text)
    expect(readdirSync(FOLDER).toSorted()).toEqual(Object.keys(made).toSorted())
  })

  test('every route of the API is there', () => {
    expect(made['api.md']).not.toContain('undefined')
    expect(made['api.md']?.match(/^### /gm)?.length).toBeGreaterThan(35)
  })
})

test('every action of the audit log is in the console in words, and so in the reference', () => {
  const actions = actionsInCode()
  expect(actions.length).toBeGreaterThan(25)
  expect(actions.filter((action) => !Object.hasOwn(VERBS, action))).toEqual([])
})

test('every type of error of the console is in the reference', () => {
  const slugs = slugsInConsole()
  expect(slugs.length).toBeGreaterThan(5)
  expect(slugs.filter((slug) => !errors().includes(`\`${slug}\``))).toEqual([])
})

test('the settings that the reference shows are taken', () => {
  const data = tempFolder()
  const file = readPage('docs/reference/settings.md').fences.find(({ language }) => language === 'toml')
  writeFileSync(join(data, 'portcullis.toml'), file?.text ?? '')
  const config = loadConfig(['--data', data], {}, false)
  expect(config.listen).toEqual({ host: '0.0.0.0', port: 7070 })
  expect(config.publicUrl).toBe('https://gate.example.com')
  expect(config.allowHosts).toEqual(['gate.lan', 'gate.example.com'])
})

describe('files', () => {
  const isListed = (name: string): boolean =>
    FILES.some((file) => new RegExp(`^${file.name.replaceAll('.', String.raw`\.`).replaceAll('*', '.*')}$`).test(name))
  const modesIn = (folder: string): [name: string, mode: number][] =>
    readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mode & 0o777])
  const expectListed = (folder: string) => {
    const found = modesIn(folder)
    expect(found.length).toBeGreaterThan(2)
    for (const [name, mode] of found) {
      expect(isListed(name), `${name} is not in docs/reference/files.md`).toBe(true)
      expect([name, (mode & 0o077).toString(8)]).toEqual([name, '0'])
    }
    return found.map(([name]) => name)
  }

  let node: TestNode
  let echo: Awaited<ReturnType<typeof startEcho>>
  // Its own folder, and not its home: Bun keeps a cache of compiled sources there.
  const home = tempFolder()
  const data = join(home, 'data')
  beforeAll(async () => {
    echo = await startEcho()
    node = await startNode({ data, env: { HOME: home } })
  })
  afterAll(async () => {
    await node.stop()
    echo.stop()
  })

  test('a node that was used leaves no file that is not listed', async () => {
    await node.addServer('echo', echo.url)
    const { id } = await node.createToken('one', ['echo'])
    await node.revoke({ tokens: [id] })
    await node.api('POST', '/keys')
    const cli = (...args: string[]) => portcullis(['--data', data, ...args])
    expect((await cli('backup', join(home, 'backup.tar'))).code).toBe(0)
    expect((await cli('audit', 'verify')).code).toBe(0)
    const running = expectListed(data)
    for (const { name, mode } of FILES) {
      if (mode === '0600' && !name.includes('*')) expect(running, `${name} is listed, and not there`).toContain(name)
    }
    await node.stop()
    expectListed(data)
    expect(existsSync(join(data, 'control.sock'))).toBe(false)
    const restored = await cli('restore', join(home, 'backup.tar'))
    expect([restored.code, restored.stderr]).toEqual([0, ''])
    expectListed(data)
  })

  test('a row of an export can be hashed as the reference says', async () => {
    node = await startNode({ data, env: { HOME: home } })
    const { json } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit')
    expect(json.items.length).toBeGreaterThan(3)
    for (const row of json.items) {
      const { sequence, time, node: by, actor, action, targetId, targetName, reason, details, previousHash } = row
      const fields = [sequence, Date.parse(time), by, actor, action, targetId, targetName, reason]
      const text = JSON.stringify([...fields, JSON.stringify(details), previousHash])
      expect(createHash('sha256').update(text).digest('hex')).toBe(row.hash)
    }
  })
})
