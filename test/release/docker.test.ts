import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chownSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { ROOT } from '../cli/run.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { mayRunContainers, startEngine } from './engine.ts'

const COMMIT = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00'
const STAMP = { PORTCULLIS_COMMIT: COMMIT, SOURCE_DATE_EPOCH: '1798761600' }
const IMAGE = `portcullis:${packageJson.version}`
const USER = 10_001
/** Prints the status alone. */
const CURL = 'curl --silent --output /dev/null --write-out %{http_code}'
/** What a container is made from; nobody edits this copy while it is built. */
const FILES = [
  'Dockerfile',
  '.dockerignore',
  'compose.yaml',
  'docs/docker',
  'src',
  'drizzle',
  'package.json',
  'bun.lock',
]
const REST = ['bunfig.toml', 'tsconfig.json']

describe.skipIf(!mayRunContainers())('containers', () => {
  let folder: string
  let checkout: string
  let engine: Awaited<ReturnType<typeof startEngine>>

  beforeAll(async () => {
    folder = tempFolder()
    // A name of its own: Compose names the volume after it.
    checkout = join(folder, 'portcullis')
    for (const file of [...FILES, ...REST]) cpSync(join(ROOT, file), join(checkout, file), { recursive: true })
    // What must not get into an image.
    mkdirSync(join(checkout, '.git'))
    writeFileSync(join(checkout, '.git/config'), 'secret-of-git')
    writeFileSync(join(checkout, 'portcullis.key'), 'secret-of-the-node')
    engine = await startEngine()
    await engine.importBase()
    const stamp = Object.entries(STAMP).map((pair) => `--build-arg=${pair.join('=')}`)
    await engine.build(IMAGE, checkout, ...stamp)
    await engine.build('mcp-server-everything:2026.8.31', join(checkout, 'docs/docker/everything'))
  }, 180_000)
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]()
    removeFolder(folder)
  }, 30_000)

  const healthy = (name: string) =>
    eventually(async () => (await engine.docker('exec', name, 'portcullis', 'healthcheck')).code === 0, {
      timeoutMs: 15_000,
      everyMs: 50,
    })

  test('the image is the executable and the C library, and says what it is', async () => {
    const look = `docker create --name look ${IMAGE} >&2 && docker export look | tar -t`
    const { stdout: list } = await engine.run('sh', '-c', look)
    await engine.docker('rm', 'look')
    const files = list.split('\n').filter((line) => /[^/]$/.test(line))
    const library = /^lib(?:64)?\/.*(?:ld-linux-\S+|lib(?:c|m|dl|pthread))\.so\.\d$/
    expect(files.filter((file) => !library.test(file))).toEqual(['usr/local/bin/portcullis'])
    expect(files.length).toBeGreaterThan(3)
    const [config] = JSON.parse((await engine.docker('image', 'inspect', IMAGE)).stdout) as [
      { Size: number; Config: Record<string, unknown>; Healthcheck: unknown },
    ]
    expect(config.Size).toBeLessThan(135e6)
    expect(config.Config).toMatchObject({
      User: '10001:10001',
      Volumes: { '/data': {} },
      Entrypoint: ['portcullis'],
      Cmd: ['serve'],
      ExposedPorts: { '7070/tcp': {}, '7071/tcp': {} },
    })
    expect(config.Healthcheck).toMatchObject({ Test: ['CMD', 'portcullis', 'healthcheck'] })
    expect((await engine.docker('run', '--rm', IMAGE, 'version')).stdout).toBe(
      `portcullis ${packageJson.version} (c0ffee0, 2027-01-01)\n`,
    )
  }, 30_000)

  test("the image's executable is the one that the same sources give anywhere else", async () => {
    await Bun.$`${process.execPath} install --frozen-lockfile --production`.cwd(checkout).quiet()
    await Bun.$`${process.execPath} src/release/build.ts`.cwd(checkout).env({ ...process.env, ...STAMP })
    const own = await Bun.$`sha256sum < dist/portcullis`.cwd(checkout).text()
    const { stdout } = await engine.run(
      'sh',
      '-c',
      `docker create --name look ${IMAGE} >&2 && docker cp look:/usr/local/bin/portcullis - | tar -xO | sha256sum`,
    )
    await engine.docker('rm', 'look')
    expect(stdout).toBe(own)
  }, 30_000)

  test('the page, word by word; a real client goes through the gate to a server that nothing else reaches', async () => {
    const client = join(ROOT, 'test/release/mcp-client.ts')
    const ran = await runGuide('docs/docker.md', {
      cwd: checkout,
      env: engine.env,
      runner: [...engine.inside, 'env', '--chdir', checkout],
      timeoutMs: 100_000,
      before: 'ready() { until docker exec "$1" portcullis healthcheck; do sleep 0.1; done > /dev/null 2>&1; }',
      scenes: {
        'First steps': {
          // Nobody types as fast as a test.
          before: [
            'ready portcullis_portcullis_1',
            'until docker logs portcullis_everything_1 2>&1 | grep -q "listening on port"; do sleep 0.1; done',
          ].join('\n'),
          after: 'token=$(grep -o "pcl_[0-9A-Za-z]*" "$printed" | head -n 1)',
        },
        'Kill a token': {
          before: [
            `${process.execPath} ${client} http://127.0.0.1:7070/s/everything/mcp "$token" > killed.seen 2>&1 &`,
            'for try in $(seq 200); do grep -q "is under way" killed.seen && break; sleep 0.05; done',
            'grep -q "is under way" killed.seen || { cat killed.seen >&2; false; }',
          ].join('\n'),
          after: `wait; ${CURL} -H "Authorization: Bearer $token" http://127.0.0.1:7070/s/everything/mcp >> killed.seen`,
        },
        Backup: {
          after:
            'ready portcullis_portcullis_1; docker compose exec portcullis portcullis token ls --json > tokens.seen',
        },
        'Stop it': { after: 'docker ps --all --quiet > left.seen' },
        'Without Compose': {
          after: [
            'ready portcullis',
            'docker exec portcullis portcullis audit verify > last.seen',
            'docker stop portcullis >&2',
            'docker inspect --format "exit {{.State.ExitCode}}" portcullis >> last.seen',
          ].join('\n'),
        },
      },
    })
    expectShown(ran)
    const seen = (name: string) => readFileSync(join(checkout, `${name}.seen`), 'utf8')
    const [underWay, ended, status] = seen('killed').split('\n')
    expect(JSON.parse(underWay ?? '')).toMatchObject({
      tools: expect.arrayContaining(['echo']),
      content: [{ type: 'text', text: 'Echo: hällo' }],
    })
    expect(ended).toContain('-32080')
    expect(status).toBe('401')
    // Dead before the backup, and dead after it was put back.
    const { items } = JSON.parse(seen('tokens')) as { items: { name: string; status: string }[] }
    expect(items).toMatchObject([{ name: 'Cursor IDE', status: 'revoked' }])
    expect(seen('left')).toBe('')
    // The same volume, another container.
    expect(seen('last')).toMatch(/INTACT[^]*exit 0\n$/)
  }, 110_000)

  test('a server without a port is reached by nobody but the gate', async () => {
    await engine.docker('compose', '--file', join(checkout, 'compose.yaml'), 'up', '-d')
    const addresses = async (service: string) => {
      const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}'
      return (await engine.docker('inspect', '--format', format, `portcullis_${service}_1`)).stdout.trim().split(' ')
    }
    expect(await addresses('portcullis')).toHaveLength(2)
    expect(await addresses('everything')).toHaveLength(1)
    const look =
      "fetch('http://192.0.2.1/', { signal: AbortSignal.timeout(3000) }).then(() => 0, (error) => console.log(error.cause?.code))"
    const { stdout } = await engine.docker('exec', 'portcullis_everything_1', 'node', '-e', look)
    expect(stdout).toBe('ENETUNREACH\n')
    const { stdout: ports } = await engine.docker(
      'inspect',
      '--format',
      '{{.NetworkSettings.Ports}}',
      'portcullis_everything_1',
    )
    expect(ports).not.toContain('0.0.0.0')
  }, 30_000)

  test('PID 1: confined, no children left, a stop ends it in order', async () => {
    const { stdout: pid } = await engine.docker('inspect', '--format', '{{.State.Pid}}', 'portcullis_portcullis_1')
    const { stdout: status } = await engine.run('cat', `/proc/${pid.trim()}/status`)
    expect(status).toMatch(new RegExp(`^Uid:\\s+${USER}\\s`, 'm'))
    expect(status).toMatch(/^NSpid:\s+\d+\s+1$/m)
    expect(status).toMatch(/^CapEff:\s+0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
    const { stdout: children } = await engine.run('cat', `/proc/${pid.trim()}/task/${pid.trim()}/children`)
    expect(children).toBe('')
    const startedAt = performance.now()
    await engine.docker('stop', '--time', '8', 'portcullis_portcullis_1')
    expect(performance.now() - startedAt).toBeLessThan(7_000)
    const { stdout: code } = await engine.docker(
      'inspect',
      '--format',
      '{{.State.ExitCode}}',
      'portcullis_portcullis_1',
    )
    expect(code).toBe('0\n')
  }, 30_000)

  test("a folder of somebody else's in place of the volume: what to do, and then it works", async () => {
    const data = join(folder, 'data')
    mkdirSync(data)
    const run = (...args: string[]) => engine.docker('run', '--volume', `${data}:/data`, ...args)
    const refused = await run('--rm', IMAGE)
    expect([refused.code, refused.stdout]).toEqual([2, ''])
    expect(refused.stderr).toContain(`--data /data: it is user 0's, and this runs as user ${USER}`)
    expect(refused.stderr).toContain(`chown -R ${USER}`)
    chownSync(data, USER, USER)
    await run('--detach', '--name', 'own', IMAGE)
    await healthy('own')
    const stopped = await engine.docker('stop', 'own')
    expect(stopped.code).toBe(0)
  }, 30_000)
})
