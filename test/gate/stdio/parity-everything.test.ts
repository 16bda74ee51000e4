import { afterAll, beforeAll, expect, test } from 'bun:test'
import { TALKERS, type Door, type Params } from '../../conformance/talker.ts'
import { startNode, type TestNode } from '../../support/node.ts'
import { bearer } from '../../support/secret.ts'
import { EVERYTHING, startEverything } from '../../support/upstreams/everything.ts'

/** The reference server, on SDK 1: what it answers over its own HTTP, and what as a command behind the gate. */

let node: TestNode
let direct: Awaited<ReturnType<typeof startEverything>>
let doors: Record<'direct' | 'gate', Door>

beforeAll(async () => {
  ;[node, direct] = await Promise.all([startNode(), startEverything('streamableHttp')])
  await node.addCommand('everything', [...EVERYTHING, 'stdio'])
  const { token } = await node.createToken('parity', ['everything'])
  doors = {
    direct: { url: direct.url + direct.path, headers: {} },
    gate: { url: `${node.gate}/s/everything`, headers: bearer(token) },
  }
}, 30_000)
afterAll(async () => {
  await direct?.stop()
  await node?.stop()
}, 30_000)

const REQUESTS: [method: string, params?: Params][] = [
  ['tools/list'],
  ['prompts/list'],
  ['resources/list'],
  ['resources/templates/list'],
  ['prompts/get', { name: 'args-prompt', arguments: { city: 'Köln', state: 'NRW' } }],
  [
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'completable-prompt' }, argument: { name: 'department', value: '' } },
  ],
  ['logging/setLevel', { level: 'emergency' }],
  ['resources/subscribe', { uri: 'demo://resource/dynamic/text/1' }],
]
const CALLS: [name: string, args?: Params][] = [
  ['echo', { message: 'hällo' }],
  ['echo'],
  ['get-sum', { a: 1, b: 2 }],
  ['get-tiny-image'],
  ['get-annotated-message', { messageType: 'error', includeImage: true }],
  ['get-structured-content', { location: 'Chicago' }],
  ['get-structured-content', { location: 'Nowhere' }],
  ['get-resource-links', { count: 3 }],
  ['trigger-long-running-operation', { duration: 0.2, steps: 4 }],
  ['trigger-sampling-request', { prompt: 'Hi', maxTokens: 5 }],
  ['trigger-elicitation-request'],
  ['get-roots-list'],
  ['no-such-tool'],
]

const transcript = async (door: Door): Promise<unknown[]> => {
  const talker = await TALKERS['SDK 1'](door)
  talker.answers.set('sampling/createMessage', () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'Yes' },
  }))
  talker.answers.set('elicitation/create', () => ({ action: 'decline' }))
  talker.answers.set('roots/list', () => ({ roots: [{ uri: 'file:///r', name: 'r' }] }))
  // What it does with a client that can be asked, it does when that has said that it is ready.
  await talker.request('ping')
  const answers: unknown[] = [talker.opened]
  const answered = (asked: Promise<Params>) =>
    asked.catch((error: Error & { code?: number }) => ({ code: error.code, message: error.message }))
  for (const [method, params] of REQUESTS) answers.push([method, await answered(talker.request(method, params))])
  for (const [name, args = {}] of CALLS) answers.push([name, await answered(talker.call(name, args))])
  await talker.end()
  await talker.close()
  return answers
}

test('every answer is the same', async () => {
  const [directly, through] = [await transcript(doors.direct), await transcript(doors.gate)]
  expect(directly.length).toBe(1 + REQUESTS.length + CALLS.length)
  // It was asked for real: what the client said is in the answers.
  for (const said of ['hällo', '"Yes"', 'declined', 'file:///r', 'Köln', '"temperature":36'])
    expect(JSON.stringify(directly).replaceAll('\\', '')).toContain(said)
  for (const [at, answer] of directly.entries()) expect(through[at]).toEqual(answer)
})
