import { expect } from 'bun:test'
import type { RevocationJson, ServerJson, TokenJson, VerificationJson } from '../../../src/server/api/schemas.ts'
import { consoleApi } from '../../api/console.ts'
import { postForm, signIn } from '../../api/session.ts'
import type { TestNode } from '../node.ts'
import { ask } from '../raw.ts'
import { bearer } from '../secret.ts'
import type { startEcho } from '../upstreams/echo.ts'
import type { Facts } from './released.ts'

export type Echo = Awaited<ReturnType<typeof startEcho>>

/** Of a database as it was stopped, or of its backup, made before the last revocation and closing. */
export type State = 'stopped' | 'in backup'

/** What the gate answers to each secret of an older version, in the order of the facts. */
export const answersTo = (node: TestNode, { secrets }: Pick<Facts, 'secrets'>): Promise<number[]> =>
  Promise.all(
    secrets.map(
      async ({ secret, server }) =>
        (await ask(node.gate, { target: `/s/${server}/x`, headers: bearer(secret) })).status,
    ),
  )

/** What must be answered: a grace that was open when the facts were made ends by itself. */
export const expectedAnswers = ({ secrets }: Facts, state: State = 'stopped'): number[] =>
  secrets.map(({ answer, inBackup, diesAt }) => {
    if (diesAt !== undefined && Date.parse(diesAt) <= Date.now()) return 401
    return state === 'stopped' ? answer : inBackup
  })

/** The least that must hold: every secret passes or dies as before, and the audit log is whole. */
export const expectAlive = async (node: TestNode, facts: Facts, state: State = 'stopped'): Promise<void> => {
  expect(await answersTo(node, facts)).toEqual(expectedAnswers(facts, state))
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
}

const expectPages = async (node: TestNode, cookie: string): Promise<number> => {
  const seen = new Set(['/'])
  for (const path of seen) {
    const response = await fetch(node.console + path, { headers: { Cookie: cookie }, redirect: 'manual' })
    const text = await response.text()
    expect(response.status, `${path}: ${text.slice(0, 500)}`).toBeLessThan(400)
    for (const [, link = ''] of text.matchAll(/ href="(\/[^"#]*)/g)) seen.add(link.replaceAll('&amp;', '&'))
  }
  return seen.size
}

/** Everything that the older version said of itself holds under this one. */
export const expectAll = async (node: TestNode, facts: Facts, echo: Echo): Promise<void> => {
  const { json: listed } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
  const tokens = listed.items.map(({ name, id, status, subject, group, policy, deadTries }) => [
    name,
    { id, status, subject, group, policy, deadTries: deadTries.count },
  ])
  const wanted = Object.entries(facts.tokens).map(([name, token]) => [name, { policy: null, ...token }])
  expect(Object.fromEntries(tokens)).toEqual(Object.fromEntries(wanted))
  const { json: servers } = await node.api<{ items: ServerJson[] }>('GET', '/servers')
  expect(Object.fromEntries(servers.items.map(({ name, state }): [string, string] => [name, state]))).toEqual(
    facts.servers,
  )

  echo.requests.length = 0
  await expectAlive(node, facts)
  const passed = facts.secrets.filter((_, at) => expectedAnswers(facts)[at] === 200)
  expect(echo.requests).toHaveLength(passed.length)
  for (const { head } of echo.requests) expect(head.get(facts.header.name)).toBe(facts.header.value)

  for (const checkpoint of facts.checkpoints) {
    const { status, json } = await node.api<VerificationJson>('POST', '/audit/verification', checkpoint)
    expect([status, json.status]).toEqual([200, 'intact'])
  }
  const { json: revocations } = await node.api<{ items: RevocationJson[] }>('GET', '/revocations?limit=1000')
  const found = revocations.items.map(({ id, note, tokens: dead, connections }) => ({
    id,
    note,
    tokens: dead.map(({ name }) => name),
    cut: connections.cut,
  }))
  for (const revocation of facts.revocations) expect(found).toContainEqual(revocation)
  expect(found).toContainEqual(
    expect.objectContaining({ note: 'while the disk was full', tokens: ['revoked while the disk was full'] }),
  )

  for (const { key, answer } of facts.apiKeys)
    expect((await consoleApi(node, key)('GET', '/tokens')).status).toBe(answer)
  for (const { name, password, role, removed } of facts.operators) {
    if (removed) {
      const { status } = await postForm(node, '/sign-in', { name, password })
      expect(status).toBe(401)
    } else {
      const pages = await expectPages(node, await signIn(node, name, password))
      expect(pages).toBeGreaterThan(role === 'owner' ? 100 : 50)
    }
  }
}
