import { beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { startNode } from '../support/node.ts'
import { freePort } from '../support/port.ts'
import { tempFolder } from '../support/temp.ts'
import { diagnose, isRoot, stoppedFolder } from './run.ts'

let stopped: string
const folder = tempFolder()
/** A port that was free a moment ago. */
const settings = (table: Record<string, unknown>): string => {
  const data = tempFolder()
  Bun.spawnSync(['cp', '-a', `${stopped}/.`, data])
  const text = Object.entries({ listen: '127.0.0.1:0', console: '127.0.0.1:0', ...table })
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('')
  writeFileSync(join(data, 'portcullis.toml'), text, { mode: 0o600 })
  return data
}

/** An authority of its own, and certificates of its making: `days` may be over. */
const authority = {
  cert: join(folder, 'ca.pem'),
  key: join(folder, 'ca.key'),
  issue: async (name: string, { from = -1, days = 90 }: { from?: number; days?: number } = {}) => {
    const [key, request, cert, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) =>
      join(folder, `${name}.${end}`),
    ) as [string, string, string, string]
    const time = (day: number) =>
      `${new Date(Date.now() + day * 86_400_000 + 60_000).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`
    writeFileSync(extensions, `subjectAltName=DNS:${name},DNS:localhost,IP:127.0.0.1\n`)
    await Bun.$`openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${request} -subj /CN=${name}`.quiet()
    const config = join(folder, 'ca.cnf')
    writeFileSync(join(folder, 'index.txt'), '')
    writeFileSync(
      config,
      `[ca]\ndefault_ca=a\n[a]\ndatabase=${folder}/index.txt\nnew_certs_dir=${folder}\nrand_serial=yes\npolicy=p\n[p]\ncommonName=supplied\n`,
    )
    await Bun.$`openssl ca -batch -config ${config} -cert ${authority.cert} -keyfile ${authority.key} -md sha256 -in ${request} -out ${cert} -notext -startdate ${time(from)} -enddate ${time(days)} -extfile ${extensions}`.quiet()
    chmodSync(key, 0o600)
    return { cert, key }
  },
}

beforeAll(async () => {
  stopped = await stoppedFolder()
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${authority.key} -out ${authority.cert} -days 3650 -subj /CN=${'Our own authority'}`.quiet()
}, 60_000)

describe('addresses of a stopped node', () => {
  test('one is in use, and by whom', async () => {
    const taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    const data = settings({ listen: `127.0.0.1:${taken.port}`, console: `127.0.0.1:${freePort()}` })
    const found = await diagnose(['--data', data])
    expect(found.say('gate address')).toEqual([
      `fail: 127.0.0.1:${taken.port} is in use by bun (process ${process.pid}) → stop that, or name another address: portcullis serve --listen HOST:PORT`,
    ])
    expect(found.say('console address')[0]).toMatch(/^ok: .* is free/)
    expect(found.code).toBe(1)
    taken.stop(true)
    expect((await diagnose(['--data', data])).of('gate address')[0]?.level).toBe('ok')
  })

  test('one is not of this machine, one is too low for the user', async () => {
    const data = settings({ listen: '192.0.2.1:7070', console: '127.0.0.1:443' })
    const found = await diagnose(['--data', data])
    expect(found.say('gate address')[0]).toStartWith('fail: 192.0.2.1:7070 is no address of this machine')
    if (!isRoot()) return
    expect(found.say('console address')[0]).toBe('ok: 127.0.0.1:443 is free → ')
    for (const name of [
      '.',
      'portcullis.key',
      'portcullis.db',
      'portcullis.journal',
      'portcullis.lock',
      'portcullis.toml',
    ])
      chownSync(join(data, name), 65_534, 65_534)
    expect((await diagnose(['--data', data])).say('console address')[0]).toMatch(
      /^warn: 127\.0\.0\.1:443: nobody may not use a port that low → .*CAP_NET_BIND_SERVICE/,
    )
  })
})

describe('who can reach it', () => {
  const TLS = { 'tls-cert': join(folder, 'gate.example.pem'), 'tls-key': join(folder, 'gate.example.key') }
  const PROXIED = {
    'public-url': 'https://gate.example',
    'console-url': 'https://console.example',
    'trusted-proxy': ['10.0.0.1'],
  }
  beforeAll(async () => void (await authority.issue('gate.example')))
  test.each([
    ['without TLS', {}, ['warn: tokens can be read', 'warn: passwords can be read']],
    ['with TLS', TLS, ['', 'warn: whoever reaches it may try passwords']],
    ['behind a proxy', PROXIED, ['', '']],
  ])('on every address, %s', async (_, more, said) => {
    const found = await diagnose(['--data', settings({ listen: ':0', console: ':0', ...more })])
    for (const [index, check] of ['gate address', 'console address'].entries()) {
      const warned = found.of(check).filter(({ ok }) => !ok)
      const [level, text = ''] = (said[index] ?? '').split(': ')
      expect([check, warned.length]).toEqual([check, text === '' ? 0 : 1])
      if (text !== '') expect([level, warned[0]?.finding]).toEqual([warned[0]?.level, expect.stringContaining(text)])
    }
    expect(found.ok).toBe(true)
  })

  test('a trusted proxy that is everybody', async () => {
    const found = await diagnose(['--data', settings({ 'trusted-proxy': ['10.0.0.0/8', '0.0.0.0/0'] })])
    expect(found.say('trusted proxies')[0]).toMatch(
      /^warn: .*anybody can claim any address → .*--trusted-proxy 127\.0\.0\.1/,
    )
    const narrow = await diagnose(['--data', settings({ 'trusted-proxy': ['10.0.0.0/8'] })])
    expect(narrow.say('trusted proxies')).toEqual(['ok: 10.0.0.0/8 → '])
  })
})

test('a node that hangs is no reason to wait for ever', async () => {
  await using node = await startNode()
  node.kill('SIGSTOP')
  const found = await diagnose(['--data', node.data])
  node.kill('SIGCONT')
  expect(found.say('node')[0]).toMatch(/^fail: something listens on .*does not answer/)
  expect(found.code).toBe(1)
}, 30_000)

describe('the certificate', () => {
  const withCertificate = async (
    { cert, key }: { cert: string; key: string },
    more: Record<string, unknown> = { 'public-url': 'https://gate.example' },
  ) => (await diagnose(['--data', settings({ 'tls-cert': cert, 'tls-key': key, ...more })])).say('certificate')
  /** As a program such as certbot leaves it. */
  const whole = (name: string, { cert, key }: { cert: string; key: string }) => {
    const file = join(folder, `${name}-fullchain.pem`)
    writeFileSync(file, readFileSync(cert, 'utf8') + readFileSync(authority.cert, 'utf8'))
    return { cert: file, key }
  }

  test.each([
    [90, /^ok: it is good for (90|89) more days/],
    [12, /^warn: it expires in 1[12] days, on .* → renew it, then let the node read it again: systemctl reload/],
    [-1, /^fail: it has expired, on .*: clients refuse it → renew it/],
  ])('that ends in %d days', async (days, said) => {
    const issued = whole(`ends${days}`, await authority.issue('gate.example', { from: days - 90, days }))
    expect(await withCertificate(issued)).toEqual([expect.stringMatching(said)])
  })

  test('for other names than those in the URLs', async () => {
    const issued = whole('names', await authority.issue('gate.example'))
    expect(
      await withCertificate(issued, { 'public-url': 'https://gate.example', 'console-url': 'https://desk.example' }),
    ).toEqual(['fail: it is not for desk.example, which is in your URLs → get one that names desk.example'])
    // Addresses are never in such a certificate.
    expect(await withCertificate(issued, {})).toEqual([expect.stringMatching(/^ok/)])
  })

  test('without the chain', async () => {
    const issued = await authority.issue('gate.example')
    expect(await withCertificate(issued)).toEqual([
      expect.stringMatching(/^warn: .* lacks the certificate of its issuer, .* → use the file with the whole chain/),
    ])
  })

  test('with a key that anybody may read, or that the node may not', async () => {
    const issued = whole('modes', await authority.issue('gate.example'))
    chmodSync(issued.key, 0o604)
    expect(await withCertificate(issued)).toEqual([
      `fail: ${issued.key}: everybody may read the key → chmod o= ${issued.key}`,
    ])
    chmodSync(issued.key, 0o600)
    if (!isRoot()) return
    const data = settings({ 'tls-cert': issued.cert, 'tls-key': issued.key })
    for (const name of [
      '.',
      'portcullis.key',
      'portcullis.db',
      'portcullis.journal',
      'portcullis.lock',
      'portcullis.toml',
    ])
      chownSync(join(data, name), 65_534, 65_534)
    expect((await diagnose(['--data', data])).say('certificate')).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^fail: .*gate\.example\.key can't be read by nobody, whom the node runs as/),
      ]),
    )
  })

  test('and the key of another are refused as settings', async () => {
    const one = await authority.issue('gate.example')
    const other = await authority.issue('other.example')
    const found = await diagnose(['--data', settings({ 'tls-cert': one.cert, 'tls-key': other.key })])
    expect(found.say('settings')[0]).toMatch(/^fail: tls-key in .*: is not the key of the certificate/)
  })
})

describe('servers behind the gate', () => {
  /** Serves TLS with that certificate until it is disposed of. */
  const serving = ({ cert, key }: { cert: string; key: string }) => {
    const requests: Request[] = []
    const server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      tls: { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') },
      fetch: (request) => {
        requests.push(request)
        return new Response('x')
      },
    })
    return { url: `https://localhost:${server.port}`, requests, stop: () => server.stop(true) }
  }

  test('are connected to, and asked nothing: one is down, one hangs, certificates end', async () => {
    const good = serving(await authority.issue('localhost', {}))
    const soon = serving(await authority.issue('soon', { days: 5 }))
    const over = serving(await authority.issue('over', { from: -30, days: -2 }))
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    const silentAt = silent.address()
    const urls = {
      good: good.url,
      soon: soon.url,
      over: over.url,
      down: `http://127.0.0.1:${freePort()}`,
      // It takes the connection, and never shakes hands.
      hangs: `https://127.0.0.1:${typeof silentAt === 'object' ? silentAt?.port : 0}`,
      nameless: 'http://no-such-host.invalid',
    }
    const data = tempFolder()
    const node = await startNode({ data, env: { NODE_EXTRA_CA_CERTS: authority.cert } })
    for (const [name, url] of Object.entries(urls))
      await node.addServer(name, url, { headers: { 'X-Key': 'credential-0815' } })
    await node.addServer('closed', `http://127.0.0.1:${freePort()}`)
    await node.api('PUT', '/servers/closed/gate', { state: 'closed' })

    const levelsOf = (found: Awaited<ReturnType<typeof diagnose>>) =>
      Object.fromEntries(found.of('servers').map(({ finding, level }) => [finding.split(' ')[0], level]))
    const said = { soon: 'warn', over: 'fail', down: 'warn', hangs: 'warn', nameless: 'warn' }
    const trusting = { env: { NODE_EXTRA_CA_CERTS: authority.cert } }
    const running = await diagnose(['--data', data], trusting)
    expect(levelsOf(running)).toEqual(said)
    const text = running.say('servers').join('\n')
    expect(text).toMatch(/^fail: over \S+ its certificate has expired, on .* → renew its certificate$/m)
    expect(text).toMatch(/^warn: soon \S+ its certificate expires in [45] days → /m)
    expect(text).not.toContain('0815')
    expect(running.code).toBe(1)
    expect(running.tookMs).toBeLessThan(12_000)
    await node.stop()
    expect(levelsOf(await diagnose(['--data', data], trusting))).toEqual(said)
    // Without the authority, a stopped node's server is not trusted by whoever looks.
    const strange = await diagnose(['--data', data])
    expect(strange.say('servers').join('\n')).toMatch(/warn: good .* is not trusted here \(\w+\)/)
    for (const { requests } of [good, soon, over]) expect(requests).toEqual([])
    for (const server of [good, soon, over]) await server.stop()
    silent.close()
  }, 60_000)
})
