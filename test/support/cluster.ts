import type { ClusterJson } from '../../src/server/api/schemas.ts'
import { LinkProxy } from './link-proxy.ts'
import type { Machine } from './machines.ts'
import { type NodeOptions, startNode, type TestNode } from './node.ts'
import { eventually } from './poll.ts'
import { freePort } from './port.ts'
import { removeFolder, tempFolder } from './temp.ts'

export interface ClusterOptions extends Pick<NodeOptions, 'command' | 'env'> {
  /** For every node. */
  args?: string[]
  /** Links go through a proxy of ours, which can delay and cut them. */
  proxied?: boolean
  /** What each of them runs on, in their order; all on the loopback of this one where there are none. */
  machines?: readonly Machine[]
}

/** One member: its process, its folder that outlives the process, and what stands before its cluster port. */
export class TestMember {
  node: TestNode | null = null
  proxy: LinkProxy | null = null
  readonly data = tempFolder()

  constructor(
    readonly name: string,
    readonly port: number,
    readonly options: ClusterOptions,
    readonly machine: Machine | null,
  ) {}

  get host(): string {
    return this.machine?.address ?? '127.0.0.1'
  }

  get url(): string {
    return this.proxy?.url ?? `ws://${this.host}:${this.port}`
  }

  /** The process; throws when it does not run. */
  get running(): TestNode {
    if (!this.node) throw new Error(`node ${this.name} does not run`)
    return this.node
  }

  async start(...args: string[]): Promise<TestNode> {
    const { command, env, proxied, args: common = [] } = this.options
    const { host, port, machine } = this
    if (proxied) this.proxy ??= await LinkProxy.start({ host, port })
    const own = ['--node-name', this.name, '--cluster-listen', `${host}:${port}`, '--cluster-advertise', this.url]
    const there = machine ? ['--listen', `${machine.clients}:0`, '--console', `${machine.clients}:0`] : []
    this.node = await startNode({
      ...{ data: this.data, env, args: [...own, ...there, ...common, ...args] },
      command: machine && command ? [...machine.within, ...command] : command,
    })
    return this.node
  }

  async kill(): Promise<void> {
    this.running.kill('SIGKILL')
    await this.running.exited
    this.node = null
  }

  async stop(): Promise<void> {
    const { node } = this
    this.node = null
    await node?.stop()
  }

  async status(): Promise<ClusterJson> {
    return (await this.running.api<ClusterJson>('GET', '/cluster')).json
  }

  /** The id under which the others know it. */
  async id(): Promise<string> {
    return (await this.status()).node.id
  }
}

export const ticketOf = async (member: TestMember): Promise<string> => {
  const answer = await member.running.api<{ ticket: string }>('POST', '/cluster/tickets', {})
  if (answer.status !== 201) throw new Error(`no ticket: ${answer.status} ${JSON.stringify(answer.json)}`)
  return answer.json.ticket
}

/** Real processes that are members of one cluster, named a, b, c, …; `a` founded it. */
export class TestCluster {
  readonly members: TestMember[] = []

  constructor(readonly options: ClusterOptions) {}

  /** A member that does not run yet. */
  member(): TestMember {
    const at = this.members.length
    const machine = this.options.machines?.[at] ?? null
    const member = new TestMember(String.fromCodePoint(97 + at), freePort(), this.options, machine)
    this.members.push(member)
    return member
  }

  /** One more, joined through the first. */
  async join(member = this.member()): Promise<TestMember> {
    const [first] = this.members as [TestMember]
    await member.start('--cluster-join', first.url, '--ticket', await ticketOf(first))
    return member
  }

  /** Until every node that runs lets clients in, and is linked to all others that run. */
  async settled(timeoutMs = 15_000): Promise<void> {
    const running = this.members.filter(({ node }) => node !== null)
    await eventually(
      async () => {
        for (const member of running) {
          const status = await member.status()
          if (!status.clustered || !status.serving) return false
          const linked = status.members.filter(({ state }) => state === 'linked')
          if (linked.length !== running.length - 1) return false
        }
        return true
      },
      { timeoutMs, everyMs: 20, what: 'all nodes serve and are linked' },
    )
  }

  /** Two nodes hear nothing of each other any more, or again. */
  async cut(one: TestMember, other: TestMember, cut = true): Promise<void> {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (!to.proxy) throw new Error('only proxied links can be cut')
      to.proxy.wireFrom(await from.id()).cut = cut
      to.proxy.apply()
    }
  }

  /** As cut, but no link ends: bytes wait on the way, either way. */
  async deafen(one: TestMember, other: TestMember, deaf = true): Promise<void> {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (!to.proxy) throw new Error('only proxied links can be deafened')
      to.proxy.wireFrom(await from.id()).deaf = { dialler: deaf, dialled: deaf }
      to.proxy.apply()
    }
  }

  /** Until all nodes that run know what each of them knows. */
  async spread(timeoutMs = 15_000): Promise<void> {
    await eventually(
      async () => {
        for (const member of this.members) {
          if (!member.node) continue
          const status = await member.status()
          if (!status.clustered || status.behind > 0) return false
          if (status.members.some(({ state, behind }) => state === 'linked' && behind !== 0)) return false
        }
        return true
      },
      { timeoutMs, everyMs: 10, what: 'all know what all know' },
    )
  }

  /** How long bytes take between all nodes, each way. */
  async delay(delayMs: number): Promise<void> {
    const ids = await Promise.all(this.members.map((member) => member.id()))
    for (const { proxy } of this.members) for (const id of ids) if (proxy) proxy.wireFrom(id).delayMs = delayMs
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { node } of this.members) node?.kill('SIGCONT')
    await Promise.all(this.members.map((member) => member.stop()))
    for (const { proxy, data } of this.members) {
      proxy?.stop()
      removeFolder(data)
    }
  }
}

export const startCluster = async (count: number, options: ClusterOptions = {}): Promise<TestCluster> => {
  const cluster = new TestCluster(options)
  await cluster.member().start()
  for (let joined = 1; joined < count; joined += 1) await cluster.join()
  // One alone is no cluster before it gives out a ticket.
  if (count > 1) await cluster.settled()
  return cluster
}
