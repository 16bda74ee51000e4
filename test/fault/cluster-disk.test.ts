import { expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RevocationJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { TestCluster, type TestMember } from '../support/cluster.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'

const answerOf = async ({ running }: TestMember, { token }: TokenIssuedJson): Promise<number> => {
  const response = await fetch(`${running.gate}/s/events/sse`, { headers: bearer(token ?? '') })
  await response.body?.cancel()
  return response.status
}

const receiptOf = async ({ running }: TestMember, id: string): Promise<RevocationJson> =>
  (await running.api<RevocationJson>('GET', `/revocations/${id}`)).json

test.skipIf(!mayMount())(
  'what a full disk refuses is dead on all nodes, complete once it is written, and dead after kill -9 of any',
  async () => {
    const events = await startEvents()
    await using folder = await smallFolder('16m')
    await using cluster = new TestCluster({ env: { HOME: tempFolder() } })
    const a = cluster.member()
    await a.start()
    const b = cluster.member()
    const data = join(folder.data, 'data')
    mkdirSync(data, { mode: 0o700 })
    Object.assign(b, { data })
    await cluster.join(b)
    const c = await cluster.join()
    await cluster.settled()
    await a.running.addServer('events', events.url)
    const issued = async (subject: string) =>
      (await a.running.api<TokenIssuedJson>('POST', '/tokens', { name: subject, servers: ['events'], subject })).json
    const [own, theirs, other] = [await issued('own'), await issued('theirs'), await issued('other')]
    await cluster.spread()
    for (const member of [a, b, c]) expect(await answerOf(member, own)).toBe(200)

    folder.fill()
    const asked = { subject: 'own', reason: 'compromised' }
    const refused = await b.running.api<RevocationJson>('POST', '/revocations', asked)
    expect(refused).toMatchObject({ status: 507, json: { durable: false, complete: false } })
    const made = await c.running.api<RevocationJson>('POST', '/revocations', { ...asked, subject: 'theirs' })
    expect(made.json.complete).toBe(false)
    for (const member of [a, b, c]) {
      for (const token of [own, theirs]) {
        await eventually(async () => (await answerOf(member, token)) === 401, { what: `${member.name} refuses it` })
      }
    }
    // Whom it names is dead, and yet nobody may say that all is done.
    const again = await b.running.api<RevocationJson>('POST', '/revocations', {
      tokens: [own.id],
      reason: 'compromised',
    })
    expect(again.json).toMatchObject({ tokens: [], complete: false })

    folder.free()
    for (const { id } of [refused.json, made.json]) {
      await eventually(async () => (await receiptOf(b, id)).complete, { timeoutMs: 15_000, what: `${id} is complete` })
    }
    expect((await receiptOf(b, refused.json.id)).tokens).toMatchObject([{ id: own.id }])
    for (const member of [a, b, c]) {
      await member.kill()
      await member.start()
    }
    await cluster.settled()
    for (const member of [a, b, c]) {
      expect([await answerOf(member, own), await answerOf(member, theirs)]).toEqual([401, 401])
      expect(await answerOf(member, other)).toBe(200)
    }
    events.stop()
  },
  60_000,
)
