import { expect, test } from 'bun:test'
import type { AuditRowJson } from '../../src/server/api/schemas.ts'
import { eventually } from '../support/poll.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { curl, headers } from './curl.ts'
import { OTHER_CLIENT, PROXY_ADDRESS } from './network.ts'
import { CONSOLE, DIRECT, GATE, type Scene } from './scene.ts'

const FORGED = '198.51.100.66'
/** All the ways in which a client may say that it is somebody else. */
const FORGERIES: Record<string, Record<string, string>> = {
  nothing: {},
  'X-Forwarded-For': { 'X-Forwarded-For': FORGED },
  'X-Forwarded-For of many': { 'X-Forwarded-For': `${FORGED}, 127.0.0.1, 127.0.0.1` },
  'X-Forwarded-For that says nothing': { 'X-Forwarded-For': 'unknown' },
  Forwarded: { Forwarded: `for=${FORGED}` },
  'Forwarded with a quote left open': { Forwarded: `for=${FORGED};by="` },
  both: { 'X-Forwarded-For': FORGED, Forwarded: `for="${FORGED}:80"` },
  'X-Real-IP': { 'X-Real-IP': FORGED, 'True-Client-IP': FORGED, 'X-Client-IP': FORGED },
}

/** The address that the gate takes a client for, while a stream of it is open. */
const seenAs = async (scene: Scene, from: string, sent: Record<string, string>, http = '--http2'): Promise<string> => {
  const { id, token } = await scene.createToken(`from ${from} ${crypto.randomUUID()}`)
  const all = headers({ ...bearer(token), 'X-Kind': 'silence', ...sent })
  const client = curl([http, '--interface', from, ...all, `${GATE}/s/raw/x`])
  const [connection] = await eventually(async () => {
    const found = await scene.connectionsOf(id)
    return found.length > 0 && found
  })
  client.kill()
  return connection?.address ?? ''
}

const signIn = async (from: string, sent: Record<string, string>): Promise<number> => {
  const form = ['--data', 'name=ada', '--data', 'password=not%20the%20password']
  const own = headers({ ...sent, 'Sec-Fetch-Site': 'same-origin' })
  const asked = curl([
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '--interface',
    from,
    ...own,
    ...form,
    `${CONSOLE}/sign-in`,
  ])
  await asked.exited
  return Number(asked.text())
}

const sourcesOf = async (scene: Scene, action: string): Promise<string[]> => {
  const { json } = await scene.node.api<{ items: AuditRowJson[] }>('GET', `/audit?action=${action}&limit=1000`)
  return [...new Set(json.items.map(({ actor }) => actor))].toSorted()
}

export const testAddresses = (scene: () => Scene): void => {
  test.each(Object.entries(FORGERIES))('a client that says %p is who it is', async (_what, sent) => {
    expect(await seenAs(scene(), OTHER_CLIENT, sent)).toBe(OTHER_CLIENT)
    expect(await seenAs(scene(), PROXY_ADDRESS, sent, '--http1.1')).toBe(PROXY_ADDRESS)
  })

  test('guesses at a password are counted by the address that they come from, whatever it says', async () => {
    const answers: number[] = []
    for (let count = 1; count <= 12; count += 1)
      answers.push(
        await signIn(OTHER_CLIENT, { 'X-Forwarded-For': `198.51.100.${count}`, Forwarded: `for=10.0.0.${count}` }),
      )
    expect(answers.at(-1)).toBe(429)
    expect(answers.slice(0, 10)).not.toContain(429)
    expect(await signIn(PROXY_ADDRESS, {})).not.toBe(429)
  })

  test('what strangers try is written down under their addresses', async () => {
    const sent = headers({ ...bearer(unknownSecret()), 'X-Forwarded-For': FORGED })
    await curl(['--interface', OTHER_CLIENT, ...sent, `${GATE}/s/raw/x`]).exited
    // What is folded is written at the end of a minute, or of the node.
    await scene().restart('SIGTERM')
    const known = [PROXY_ADDRESS, OTHER_CLIENT].map((address) => `address:${address}`)
    expect(await sourcesOf(scene(), 'gate.unknown-token')).toEqual(known)
    expect(await sourcesOf(scene(), 'operator.sign-in-failed')).toEqual(known)
  })

  test('without --trusted-proxy nobody is believed, the proxy neither', async () => {
    for (const sent of Object.values(FORGERIES)) expect(await seenAs(scene(), OTHER_CLIENT, sent)).toBe('127.0.0.1')
    const { id, token } = await scene().createToken('directly')
    const direct = curl([
      ...headers({ ...bearer(token), 'X-Forwarded-For': FORGED, 'X-Kind': 'silence' }),
      `${DIRECT}/s/raw/x`,
    ])
    const [connection] = await eventually(async () => {
      const found = await scene().connectionsOf(id)
      return found.length > 0 && found
    })
    expect(connection?.address).toBe('127.0.0.1')
    direct.kill()
    await scene().restart('SIGTERM', ['--trusted-proxy', '127.0.0.1'])
  })
}
