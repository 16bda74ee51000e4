import { existsSync } from 'node:fs'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import type { WireGround } from './wire-ground.ts'

/** Paths that die without a word: not a packet gets through any more, and neither side is told. */

/** A network of its own for the node, which one cable leads to. It needs root, and Linux. */
const HERE = '10.213.77.1'
const THERE = '10.213.77.2'
/**
 * How often the kernel repeats what is not confirmed before it gives a connection up: 15 unless told, which takes a
 * quarter of an hour. 4 take seconds.
 */
const RETRIES = 4
/** A comment after 15 s of silence, and its repetitions, which are the further apart the slower a machine confirmed before. */
const FOUND_MS = 180_000

const sh = (script: string): boolean =>
  Bun.spawnSync(['sh', '-ec', script], { stdout: 'ignore', stderr: 'ignore' }).exitCode === 0

const mayMakeNetworks = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  Bun.which('ip') !== null &&
  existsSync('/proc/self/ns/net')

export const silentPaths = async (ground: WireGround): Promise<void> => {
  const name = `pclw${process.pid}`
  const remove = () => sh(`ip netns del ${name} || true; ip link del ${name}a 2>&1 || true`)
  const made =
    mayMakeNetworks() &&
    sh(`ip netns add ${name}
    ip link add ${name}a type veth peer name ${name}b netns ${name}
    ip addr add ${HERE}/30 dev ${name}a
    ip link set ${name}a up
    ip netns exec ${name} ip link set lo up
    ip netns exec ${name} ip addr add ${THERE}/30 dev ${name}b
    ip netns exec ${name} ip link set ${name}b up
    ip netns exec ${name} sh -c 'echo ${RETRIES} > /proc/sys/net/ipv4/tcp_retries2'`)
  process.on('exit', remove)
  if (!made) {
    remove()
    if (process.env['CI']) ground.wrong('silentPaths: no network of its own could be made')
    console.log('SKIPPED LOUDLY: paths that die silently need root and network namespaces')
    return
  }
  const streams = new Set<ReadableStreamDefaultController>()
  const upstream = Bun.serve({
    hostname: HERE,
    port: 0,
    idleTimeout: 0,
    fetch: () => {
      const start = (controller: ReadableStreamDefaultController) => {
        streams.add(controller)
        controller.enqueue('data: 1\n\n')
      }
      return new Response(new ReadableStream({ start }), { headers: { 'content-type': 'text/event-stream' } })
    },
  })
  try {
    await using node = await startNode({
      command: ['ip', 'netns', 'exec', name, builtBinary()],
      args: ['--listen', `${THERE}:0`],
    })
    await node.addServer('far', upstream.url.href, { kind: 'http' })
    const many = ground.many(20, 200)
    const streamsOf = async (tokenName: string) => {
      const { id, token } = await node.createToken(tokenName, ['far'])
      const clients = await Promise.all(
        Array.from({ length: many }, () => open(node.gate, { target: '/s/far/sse', headers: bearer(token) })),
      )
      await Promise.all(clients.map((client) => client.until(({ bodyBytes }) => bodyBytes > 0, FOUND_MS)))
      return id
    }
    const [killed] = [await streamsOf('killed'), await streamsOf('left alone')]
    const left = async () => (await node.api<{ items: unknown[] }>('GET', '/connections?limit=1000')).json.items.length
    sh(`ip link set ${name}a down`)
    const goneAt = performance.now()
    const { connections } = await node.revoke({ tokens: [killed] })
    const after = await left()
    if (connections.cut !== many || after !== many) {
      ground.wrong(`silent paths: ${connections.cut} of ${many} were cut, ${after} of ${many * 2} are left`)
    }
    await eventually(async () => (await left()) === 0, {
      timeoutMs: FOUND_MS,
      everyMs: 100,
      what: 'clients behind a dead path are found out by the kernel, after the next comment',
    })
    ground.count('silent paths', many * 2)
    ground.count('ms until the kernel found out', Math.round(performance.now() - goneAt))
  } finally {
    await upstream.stop(true)
    remove()
    process.off('exit', remove)
  }
}
