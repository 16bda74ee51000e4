import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../src/limits.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { tempFolder } from '../support/temp.ts'
import { AUTHORITY, CADDY_DATA, mayRun, runnerIn } from './network.ts'

const ROOT = join(import.meta.dir, '../..')
const configOf = (name: string) => readFileSync(join(ROOT, 'docs/proxy', name), 'utf8')

/** There is no systemd in here, and everybody is root. */
const BEFORE = `
sudo() { "$@"; }
systemctl() {
  case "$*" in
    'reload nginx') nginx ;;
    'reload caddy') caddy start --config /etc/caddy/Caddyfile ;;
    'reload haproxy') haproxy -D -p /run/haproxy.pid -f /etc/haproxy/haproxy.cfg ;;
    *) return 1 ;;
  esac
}
`
const SCENES = {
  Caddy: { before: 'nginx -s stop; while pgrep -x nginx > /dev/null; do :; done' },
  HAProxy: { before: 'caddy stop' },
  'TLS without a proxy': {
    before:
      'kill $(cat /run/haproxy.pid); pkill -x portcullis; while pgrep -x "haproxy|portcullis" > /dev/null; do :; done',
    after: 'curl -s --fail https://mcp.example.com/healthz; sh -n /etc/letsencrypt/renewal-hooks/deploy/portcullis',
  },
}

test.skipIf(!mayRun(['nginx', 'caddy', 'haproxy']))(
  'the page goes as it is told, with each of the proxies',
  async () => {
    const ran = await runGuide('docs/proxy.md', {
      before: BEFORE,
      scenes: SCENES,
      after: 'cat /var/log/nginx/portcullis.log',
      cwd: ROOT,
      env: { CURL_CA_BUNDLE: AUTHORITY, XDG_DATA_HOME: CADDY_DATA, XDG_CONFIG_HOME: CADDY_DATA },
      runner: runnerIn(tempFolder()),
    })
    expectShown(ran)
    // nginx had its request, and only its own.
    expect(ran.at(-1)?.stdout.match(/GET \/healthz 200/g)?.length).toBe(1)
  },
)

test("the proxies wait longer than the gate's own limits", () => {
  const read = [...configOf('nginx.conf').matchAll(/proxy_read_timeout (\d+)s/g)].map(([, seconds]) => Number(seconds))
  const [, server] = /timeout server (\d+)s/.exec(configOf('haproxy.cfg')) ?? []
  const [, client] = /timeout client (\d+)s/.exec(configOf('haproxy.cfg')) ?? []
  // The gate, until an answer begins; then, and on the console, until somebody says something.
  for (const seconds of [read[0], server, client])
    expect(Number(seconds) * 1000).toBeGreaterThan(limits.upstreamHeadersMs)
  for (const seconds of read) expect(seconds * 1000).toBeGreaterThan(2 * limits.keepAliveMs)
  const [, send] = /proxy_send_timeout (\d+)s/.exec(configOf('nginx.conf')) ?? []
  expect(Number(send) * 1000).toBeGreaterThan(limits.requestBodyIdleMs)
})

test('the page names the files that are tested', () => {
  const page = readFileSync(join(ROOT, 'docs/proxy.md'), 'utf8')
  for (const name of ['nginx.conf', 'Caddyfile', 'haproxy.cfg']) {
    expect(page).toContain(`](proxy/${name})`)
    expect(page).toContain(`sudo cp docs/proxy/${name} /etc/`)
    expect(configOf(name)).toContain('docs/proxy.md')
  }
})
