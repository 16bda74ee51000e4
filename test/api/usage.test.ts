import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { NodeJson, TokenIssuedJson, UsageHistoryJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem } from './shape.ts'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let issued: TokenIssuedJson & { token: string }
beforeAll(async () => {
  echo = await startEcho()
  node = await startNode()
  await node.addServer('echo', echo.url)
  issued = await node.createToken('busy', ['echo'])
})
afterAll(async () => {
  await node.stop()
  echo.stop()
})

const usage = async (query: string) =>
  (await node.api<UsageHistoryJson>('GET', `/tokens/${issued.id}/usage${query}`)).json
const sum = ({ items }: UsageHistoryJson, name: 'requests' | 'refusals' | 'bytesIn' | 'bytesOut') =>
  items.reduce((total, item) => total + item[name], 0)

test('what a token did is seen at once, in every window, and only its own', async () => {
  const other = await node.createToken('other', ['echo'])
  for (let call = 0; call < 3; call++)
    await (await fetch(`${node.gate}/s/echo/x`, { method: 'POST', body: 'four', headers: bearer(issued.token) })).text()
  await (await fetch(`${node.gate}/s/echo/x`, { headers: bearer(other.token) })).text()
  for (const [window, bucketMs, count] of [
    ['hour', 60_000, 60],
    ['day', 900_000, 96],
    ['month', 86_400_000, 30],
  ] as const) {
    const found = await usage(`?window=${window}`)
    expect([found.window, found.bucketMs, found.items.length]).toEqual([window, bucketMs, count])
    expect([sum(found, 'requests'), sum(found, 'refusals'), sum(found, 'bytesIn')]).toEqual([3, 0, 12])
    expect(sum(found, 'bytesOut')).toBeGreaterThan(0)
  }
  expect((await usage('')).window).toBe('day')
})

test('an auditor may read it; a window must be one', async () => {
  const { key } = await makeKey(node, 'reader', 'auditor')
  expect((await consoleApi(node, key)('GET', '/tokens/busy/usage')).status).toBe(200)
  for (const window of ['', 'week', 'toString', '__proto__'])
    expect(expectProblem(await node.api('GET', `/tokens/busy/usage?window=${window}`), 400, 'invalid')).toHaveProperty(
      'detail',
      'window: write hour, day or month',
    )
  expectProblem(await node.api('GET', '/tokens/nobody/usage'), 404, 'not-found')
})

test('a refusal and the tries with a dead token are counted', async () => {
  const doomed = await node.createToken('doomed', ['echo'])
  await node.revoke({ tokens: [doomed.id] })
  for (let call = 0; call < 4; call++)
    expect((await fetch(`${node.gate}/s/echo/x`, { headers: bearer(doomed.token) })).status).toBe(401)
  const { json } = await node.api<UsageHistoryJson>('GET', `/tokens/${doomed.id}/usage?window=hour`)
  expect([sum(json, 'requests'), sum(json, 'refusals')]).toEqual([0, 4])
  const metrics = await (await fetch(`${node.console}/metrics`)).text()
  expect(metrics).toContain('\nportcullis_dead_token_tries_total 4\n')
})

test('the last verification is remembered; a log that was altered makes the node unready, until it holds', async () => {
  const stateOf = async () => (await node.api<NodeJson>('GET', '/node')).json
  expect((await stateOf()).verification).toBeNull()
  const { json: first } = await node.api<VerificationJson>('GET', '/audit/verification')
  expect((await stateOf()).verification).toMatchObject({ status: 'intact', ok: true, rows: first.rows })
  const database = new Database(join(node.data, 'portcullis.db'))
  const alter = (actor: string) => {
    database.run('DROP TRIGGER IF EXISTS audit_no_update')
    database.run('UPDATE audit SET actor = ? WHERE sequence = 2', [actor])
  }
  const { actor } = database.query('SELECT actor FROM audit WHERE sequence = 2').get() as { actor: string }
  alter('local:666')
  await node.api('GET', '/audit/verification')
  const broken = await stateOf()
  expect(broken).toMatchObject({ ready: false, verification: { status: 'altered', ok: false, sequence: 2 } })
  expect(broken.problems).toEqual(['the audit log was altered: row 2 was altered'])
  expect((await fetch(`${node.console}/readyz`)).status).toBe(503)
  expect(node.stderr()).toContain('the audit log does not hold')
  alter(actor)
  database.close()
  await node.api('GET', '/audit/verification')
  expect(await stateOf()).toMatchObject({ ready: true, problems: [], verification: { status: 'intact' } })
  expect((await fetch(`${node.console}/readyz`)).status).toBe(200)
})
