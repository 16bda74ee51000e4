import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import type { ServerCreatedJson } from '../../src/cli/answers.ts'
import { ROOT } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { blocksOf } from '../support/guide.ts'
import { mcpProgram } from '../support/mcp-program.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { broken, RULES } from './dockerfile.ts'
import { mayRunContainers, startEngine } from './engine.ts'

const FOLDER = 'docs/docker/stdio'
const DOCKERFILE = readFileSync(join(ROOT, FOLDER, 'Dockerfile'), 'utf8')
const [BLOCK] = blocksOf('docs/stdio.md').filter(({ text }) => text.startsWith('docker build'))
/** Each of the page's commands on a line of its own. */
const COMMANDS = (BLOCK?.text ?? '')
  .replaceAll(/\\\n\s*/g, '')
  .trim()
  .split('\n')

test('its Dockerfile keeps to the rules, and takes the version that is current', () => {
  expect(broken(RULES, DOCKERFILE)).toEqual([])
  expect(DOCKERFILE).toContain(`FROM portcullis:${packageJson.version} AS`)
  expect(COMMANDS).toHaveLength(3)
  for (const command of COMMANDS.slice(0, 2)) expect(command).toContain(`portcullis-stdio:${packageJson.version}`)
})

describe.skipIf(!mayRunContainers())('the image for commands', () => {
  let engine: Awaited<ReturnType<typeof startEngine>>
  beforeAll(async () => {
    engine = await startEngine()
    await engine.importBase()
    // The executable and the folder are all that is taken from the image of the project.
    const context = tempFolder()
    copyFileSync(builtBinary(), join(context, 'portcullis'))
    mkdirSync(join(context, 'data'))
    const text = 'FROM scratch\nCOPY portcullis /usr/local/bin/portcullis\nCOPY --chown=10001:10001 data /data\n'
    writeFileSync(join(context, 'Dockerfile'), text)
    await engine.build(`portcullis:${packageJson.version}`, context)
    await engine.build(`portcullis-stdio:${packageJson.version}`, join(ROOT, FOLDER))
  }, 180_000)
  afterAll(() => engine?.[Symbol.asyncDispose](), 30_000)

  test('runs commands as the page says', async () => {
    const [, start = '', add = ''] = COMMANDS
    // Podman of Debian has no init of its own.
    const started = await engine.run('sh', '-c', start.replace(' --init', ''))
    expect([started.code, started.stderr]).toEqual([0, expect.any(String)])
    const within = (...command: string[]) => engine.docker('exec', ...command)
    await eventually(async () => (await within('portcullis', 'portcullis', 'healthcheck')).code === 0, {
      timeoutMs: 15_000,
      everyMs: 50,
    })
    // Nothing can be fetched here.
    const npx = join(tempFolder(), 'npx')
    writeFileSync(npx, '#!/bin/sh\nid -u >&2; exec /usr/local/bin/mcp\n', { mode: 0o755 })
    await within('--user', '0', 'portcullis', 'rm', '/usr/local/bin/npx')
    await engine.docker('cp', npx, 'portcullis:/usr/local/bin/npx')
    await engine.docker('cp', await mcpProgram(), 'portcullis:/usr/local/bin/mcp')
    const added = await engine.run('sh', '-c', `${add.replace('server add', 'server add --json')}`)
    expect([added.code, added.stderr]).toEqual([0, ''])
    const server = JSON.parse(added.stdout) as ServerCreatedJson
    expect(server.probe).toMatchObject({ found: 'mcp', reachable: true })
    expect(server.stdio?.status.stderr.map(({ line }) => line)).toContain('10001')
    const { stdout } = await within('portcullis', 'portcullis', 'doctor')
    expect(stdout).toMatch(/^WARN +stdio servers +the node is process 1 of its container/m)
    expect((await engine.docker('stop', 'portcullis')).code).toBe(0)
  }, 60_000)
})
