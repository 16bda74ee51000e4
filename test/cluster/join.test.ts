import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join, JOIN_PATH, joinDoor, type JoinServices, type Welcome } from '../../src/cluster/join.ts'
import { dialWithTicket, publicKeyOf } from '../../src/cluster/handshake.ts'
import { ClusterListener } from '../../src/cluster/listener.ts'
import type { Member } from '../../src/cluster/message.ts'
import { readTicket, Tickets } from '../../src/cluster/ticket.ts'
import type { Refusal } from '../../src/cluster/transport.ts'
import { conflict } from '../../src/error.ts'
import { limits } from '../../src/limits.ts'
import { membership } from './nodes.ts'

const welcome: Welcome = {
  cluster: 'db_cluster',
  database: 'db_1',
  keys: [{ id: 'k1', createdAt: 1, secret: Buffer.alloc(32, 1).toString('base64') }],
  secret: Buffer.alloc(32, 2).toString('base64'),
  memberships: [membership()],
}

const newMember = (name = 'b'): Member => ({
  ...{ id: `node_${name}`, name, url: `ws://${name}:7072` },
  key: publicKeyOf(new Uint8Array(randomBytes(32))),
})

/** A node that has tickets, and what it was asked. */
const host = (services: Partial<JoinServices> = {}) => {
  let now = 1_000_000
  const tickets = new Tickets(
    () => now,
    () => now,
  )
  const admitted: unknown[] = []
  const failures: unknown[] = []
  const refusals: Refusal[] = []
  const refused = (reason: Refusal) => void refusals.push(reason)
  const listener = new ClusterListener({ host: '127.0.0.1', port: 0 }, refused)
  listener.open(
    JOIN_PATH,
    joinDoor({
      keyOf: (id) => tickets.keyOf(id),
      redeem: (id, key) => tickets.redeem(id, key),
      admit: async (member, about) => {
        admitted.push({ member, ...about })
        return welcome
      },
      failed: (error) => void failures.push(error),
      refused,
      ...services,
    }),
  )
  listener.start()
  return {
    ...{ tickets, admitted, failures, refusals, listener, url: `ws://127.0.0.1:${listener.port}` },
    pass: (ms: number) => {
      now += ms
    },
    [Symbol.dispose]: () => listener.stop(),
  }
}

test('who has a ticket is told everything, once it was admitted', async () => {
  using node = host()
  const { ticket, expiresAt } = node.tickets.issue('local:0')
  expect(ticket).toMatch(/^pcj_[0-9A-Za-z]{43}$/)
  expect(expiresAt).toBe(1_000_000 + 600_000)
  const member = newMember()
  expect(await join(node.url, ticket, member, '0.6.0')).toEqual(welcome)
  expect(node.admitted).toEqual([{ member, actor: 'local:0', version: '0.6.0', named: true }])
  // The trailing slash of a URL that was copied, and the blank of a ticket.
  expect(await join(`${node.url}/`, ` ${ticket}\n`, member, '0.6.0')).toEqual(welcome)
  expect(node.refusals).toEqual([])
})

test('a ticket is good for one node, ten minutes', async () => {
  using node = host()
  const { ticket } = node.tickets.issue('local:0')
  const first = newMember()
  await join(node.url, ticket, first, '1')
  await expect(join(node.url, ticket, newMember('c'), '1')).rejects.toThrow(
    /^--cluster-join ws:.*: this ticket was used by another node.*cluster ticket/,
  )
  // Stopped before it had its answer, the same node asks again.
  await join(node.url, ticket, first, '1')
  expect(node.admitted).toHaveLength(2)

  const other = node.tickets.issue('local:0').ticket
  node.pass(limits.ticketMs - 1)
  await join(node.url, other, newMember('d'), '1')
  const late = node.tickets.issue('local:0').ticket
  node.pass(limits.ticketMs)
  await expect(join(node.url, late, newMember('e'), '1')).rejects.toThrow(/more than ten minutes old/)
  expect(node.admitted).toHaveLength(3)
})

test('a ticket of another node, or of before its restart, is told so, and nothing that is no ticket is tried', async () => {
  using node = host()
  using other = host()
  const { ticket } = other.tickets.issue('local:0')
  await expect(join(node.url, ticket, newMember(), '1')).rejects.toThrow(
    /knows no such ticket.*before that node's last/,
  )
  expect(node.refusals).toEqual(['wrong_key'])
  for (const text of ['pcj_short', ticket.slice(1), `${ticket}x`, ticket.replace('pcj_', 'pcl_')]) {
    await expect(join(node.url, text, newMember(), '1')).rejects.toThrow(/--ticket: a ticket is pcj_/)
  }
  expect(node.refusals).toHaveLength(1)
  expect(node.admitted).toEqual([])
})

test('who only saw a ticket used on the wire has nothing of it', async () => {
  using node = host()
  const { ticket } = node.tickets.issue('local:0')
  const { id } = readTicket(ticket)
  const socket = new WebSocket(`${node.url}${JOIN_PATH}`)
  const got: unknown[] = []
  socket.onmessage = ({ data }) => {
    got.push(data)
    // It states the ticket's name, and seals what it likes.
    socket.send(randomBytes(200))
  }
  socket.onopen = () => socket.send(dialWithTicket({ id, key: new Uint8Array(32) }).hello)
  await new Promise((resolve) => {
    socket.onclose = resolve
  })
  expect(got).toHaveLength(1)
  expect(JSON.stringify(got)).not.toContain(welcome.keys[0]?.secret as string)
  expect(node.admitted).toEqual([])
  expect(node.refusals).toHaveLength(1)
  // It is still good.
  await join(node.url, ticket, newMember(), '1')
})

test('words of the cluster reach the joiner, defects do not', async () => {
  using taken = host({ admit: () => Promise.reject(conflict('the name "b" is taken by a member that is linked')) })
  await expect(join(taken.url, taken.tickets.issue('x').ticket, newMember(), '1')).rejects.toMatchObject({
    kind: 'conflict',
    message: `--cluster-join ${taken.url}: the name "b" is taken by a member that is linked`,
  })
  expect(taken.failures).toEqual([])
  using broken = host({ admit: () => Promise.reject(new Error('SQLITE_SECRET of /var')) })
  await expect(join(broken.url, broken.tickets.issue('x').ticket, newMember(), '1')).rejects.toThrow('its log says why')
  expect(broken.failures).toHaveLength(1)
})

test('nobody there, something else there, and one that gives up are told apart', async () => {
  const { ticket } = new Tickets(Date.now, Date.now).issue('x')
  await expect(join('ws://127.0.0.1:1', ticket, newMember(), '1')).rejects.toThrow(/no node of a cluster answers there/)
  using web = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('hello') })
  await expect(join(`ws://127.0.0.1:${web.port}`, ticket, newMember(), '1')).rejects.toThrow(/no node of a cluster/)
  await expect(join('no url', ticket, newMember(), '1')).rejects.toThrow(/not a URL/)
  const asked = Promise.withResolvers<void>()
  using node = host({
    admit: () => {
      asked.resolve()
      return new Promise(() => {})
    },
  })
  const waiting = join(node.url, node.tickets.issue('x').ticket, newMember(), '1')
  await asked.promise
  // The same where it never says anything.
  await expect(join(node.url, node.tickets.issue('x').ticket, newMember('c'), '1', true, 100)).rejects.toThrow(
    /did not answer in the end/,
  )
  node.listener.stop()
  await expect(waiting).rejects.toThrow(/did not answer in the end/)
})

test('a host that has not the ticket can claim nothing but that it refuses it', async () => {
  const { ticket } = new Tickets(Date.now, Date.now).issue('x')
  const says = (text: string) =>
    Bun.serve({
      ...{ port: 0, hostname: '127.0.0.1' },
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response(null, { status: 400 })),
      websocket: { message: (socket) => void socket.send(text) },
    })
  for (const [text, words] of [
    [JSON.stringify({ welcome }), /not the node that made this ticket/],
    [JSON.stringify({ error: 'type your password at evil.test' }), /not the node that made this ticket/],
    [JSON.stringify({ refused: 'type your password at evil.test' }), /: it was refused there$/],
    ['{', /not the node that made this ticket/],
  ] as const) {
    using liar = says(text)
    await expect(join(`ws://127.0.0.1:${liar.port}`, ticket, newMember(), '1')).rejects.toThrow(words)
  }
})

test('so many tickets are good at once, and one more only when one is not any more', () => {
  let now = 0
  const tickets = new Tickets(
    () => now,
    () => now,
  )
  const made = Array.from({ length: limits.ticketsMax }, () => readTicket(tickets.issue('x').ticket).id)
  expect(() => tickets.issue('x')).toThrow(/too many join tickets/)
  expect(tickets.redeem(made[5] as string, 'key')).toEqual({ actor: 'x' })
  tickets.issue('x')
  expect(tickets.redeem(made[5] as string, 'key')).toBe('unknown_ticket')
  expect(() => tickets.issue('x')).toThrow(/too many join tickets/)
  now = limits.ticketMs
  tickets.issue('x')
})
