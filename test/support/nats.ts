import { freePort } from './port.ts'
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nkeys } from '@nats-io/transport-node'
import { eventually } from './poll.ts'
import { removeFolder, tempFolder } from './temp.ts'

/** Whether nats-server is here; where tests must not be skipped, that it is not is a failure. */
export const hasNats = (): boolean => {
  if (Bun.which('nats-server')) return true
  if (process.env['CI']) throw new Error('this test needs nats-server (the package nats-server of Debian) in CI')
  console.warn('SKIPPED LOUDLY: NATS can only be tested with nats-server')
  return false
}

/** What its monitoring port says of JetStream. */
interface JetStreamInfo {
  meta_cluster?: { leader?: string; cluster_size?: number }
  account_details?: { stream_detail?: StreamDetail[] }[]
}

export interface StreamDetail {
  name: string
  cluster?: { leader?: string; replicas?: { name: string; current: boolean }[] }
  state: { messages: number; last_seq: number; consumer_count: number }
}

const running = new Set<ReturnType<typeof Bun.spawn>>()
const killAll = () => {
  for (const child of running) child.kill('SIGKILL')
}

// The test runner ends without an 'exit'; outside of it there are no hooks.
if (process.env.NODE_ENV === 'test') (await import('bun:test')).afterAll(killAll)
else process.on('exit', killAll)

/** One real server of its own. It keeps its ports and its folder over kills and starts. */
export class NatsServer {
  readonly url: string
  readonly storage: string
  readonly #config: string
  readonly #folder: string
  #child: ReturnType<typeof Bun.spawn> | null = null

  constructor(
    readonly name: string,
    readonly ports: { client: number; route: number; monitor: number },
    /** Lines of its configuration beside ports and storage. */
    config: string,
    scheme: 'nats' | 'tls' = 'nats',
    keeps = true,
  ) {
    this.#folder = tempFolder()
    this.#config = join(this.#folder, 'nats.conf')
    this.storage = join(this.#folder, 'jetstream')
    this.url = `${scheme}://127.0.0.1:${ports.client}`
    mkdirSync(this.storage)
    const lines = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${ports.client}"`,
      `http: "127.0.0.1:${ports.monitor}"`,
      ...(keeps ? [`jetstream { store_dir: "${this.storage}", max_file_store: 256M, max_memory_store: 64M }`] : []),
      config,
    ]
    writeFileSync(this.#config, lines.join('\n'))
  }

  /** Resolves when clients can connect; JetStream of a cluster takes longer, see `streamOf`. */
  async start(): Promise<void> {
    const child = Bun.spawn(['nats-server', '-c', this.#config], { stdout: 'ignore', stderr: 'pipe' })
    this.#child = child
    running.add(child)
    const said = new Response(child.stderr).text()
    await eventually(
      async () => {
        if (child.exitCode !== null) return true
        return (await fetch(`http://127.0.0.1:${this.ports.monitor}/healthz?js-server-only=true`)).ok
      },
      { timeoutMs: 20_000, everyMs: 20, what: `${this.name} is ready` },
    )
    if (child.exitCode !== null) throw new Error(await said)
  }

  /** As a crash of the machine would, but for what the kernel holds. */
  async kill(): Promise<void> {
    if (!this.#child) return
    this.#child.kill('SIGKILL')
    await this.#child.exited
    running.delete(this.#child)
    this.#child = null
  }

  /** Throws away what JetStream of a killed server holds. */
  wipe(): void {
    rmSync(this.storage, { recursive: true, force: true })
    mkdirSync(this.storage)
  }

  async jetstream(): Promise<JetStreamInfo> {
    const query = 'accounts=true&streams=true&config=true'
    return (await (await fetch(`http://127.0.0.1:${this.ports.monitor}/jsz?${query}`)).json()) as JetStreamInfo
  }

  /** Messages that clients sent to it and got from it, since its start. */
  async traffic(): Promise<{ in: number; out: number; outBytes: number }> {
    const vars = await (await fetch(`http://127.0.0.1:${this.ports.monitor}/varz`)).json()
    const { in_msgs, out_msgs, out_bytes } = vars as { in_msgs: number; out_msgs: number; out_bytes: number }
    return { in: in_msgs, out: out_msgs, outBytes: out_bytes }
  }

  async stop(): Promise<void> {
    await this.kill()
    removeFolder(this.#folder)
  }
}

/** The stream of a name, as a server tells it; null: it knows none. */
export const streamOf = async (server: NatsServer, name: string): Promise<StreamDetail | null> => {
  const accounts = (await server.jetstream()).account_details ?? []
  return accounts.flatMap(({ stream_detail }) => stream_detail ?? []).find((stream) => stream.name === name) ?? null
}

const portsOf = () => ({ client: freePort(), route: freePort(), monitor: freePort() })

/** One server. `config`: more lines, as TLS or accounts. `keeps`: with JetStream. */
export const startNats = async (config = '', scheme: 'nats' | 'tls' = 'nats', keeps = true) => {
  const server = new NatsServer('alone', portsOf(), config, scheme, keeps)
  await server.start()
  return Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() })
}

/** Three servers that are one cluster, with a leader of JetStream. */
export const startNatsCluster = async () => {
  const ports = [portsOf(), portsOf(), portsOf()]
  const routes = ports.map(({ route }) => `"nats://127.0.0.1:${route}"`).join(', ')
  const servers = ports.map(
    (own, index) =>
      new NatsServer(
        `n${index + 1}`,
        own,
        `cluster { name: three, listen: "127.0.0.1:${own.route}", routes: [${routes}] }`,
      ),
  )
  await Promise.all(servers.map((server) => server.start()))
  await hasLeader(servers)
  return {
    servers,
    urls: servers.map(({ url }) => url),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

/** Resolves when those of them that run agree who leads JetStream. An election of this version takes up to ten seconds. */
export const hasLeader = (servers: readonly NatsServer[]): Promise<unknown> =>
  eventually(
    async () => {
      const infos = await Promise.all(servers.map((server) => server.jetstream()))
      return infos.every(({ meta_cluster }) => meta_cluster?.leader && meta_cluster.cluster_size === 3)
    },
    { timeoutMs: 40_000, everyMs: 50, what: 'JetStream has a leader' },
  )

/** Those that docs/nats.md asks for, and no others. */
const RIGHTS = {
  pub: { allow: ['portcullis.>', '$JS.API.>'] },
  sub: { allow: ['portcullis.>', '_INBOX.>'] },
}

/**
 * Accounts of NATS as `nsc` makes them: lines for a server's configuration, and the credentials file of a user that it lets in.
 */
export const natsCreds = (): { config: string; creds: string } => {
  const [operator, system, account, user] = [
    nkeys.createOperator(),
    nkeys.createAccount(),
    nkeys.createAccount(),
    nkeys.createUser(),
  ]
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const sign = (issuer: typeof operator, subject: typeof operator, nats: Record<string, unknown>): string => {
    const claims = {
      jti: randomBytes(16).toString('hex'),
      iat: Math.floor(Date.now() / 1_000),
      iss: issuer.getPublicKey(),
      sub: subject.getPublicKey(),
      name: String(nats['type']),
      nats: { version: 2, ...nats },
    }
    const text = `${base64({ typ: 'JWT', alg: 'ed25519-nkey' })}.${base64(claims)}`
    return `${text}.${Buffer.from(issuer.sign(new TextEncoder().encode(text))).toString('base64url')}`
  }
  const unlimited = { subs: -1, conn: -1, data: -1, payload: -1, imports: -1, exports: -1, leaf: -1, wildcards: true }
  const stored = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 }
  const [systemKey, accountKey] = [system.getPublicKey(), account.getPublicKey()]
  const systemJwt = sign(operator, system, { type: 'account', limits: unlimited })
  const accountJwt = sign(operator, account, { type: 'account', limits: { ...unlimited, ...stored } })
  return {
    config: [
      `operator: "${sign(operator, operator, { type: 'operator', system_account: systemKey })}"`,
      `system_account: ${systemKey}`,
      'resolver: MEMORY',
      `resolver_preload: { ${accountKey}: "${accountJwt}", ${systemKey}: "${systemJwt}" }`,
    ].join('\n'),
    creds: [
      '-----BEGIN NATS USER JWT-----',
      sign(account, user, { type: 'user', subs: -1, data: -1, payload: -1, ...RIGHTS }),
      '------END NATS USER JWT------',
      '-----BEGIN USER NKEY SEED-----',
      new TextDecoder().decode(user.getSeed()),
      '------END USER NKEY SEED------',
      '',
    ].join('\n'),
  }
}
