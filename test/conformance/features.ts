import { deepEqual, ok } from 'node:assert/strict'
import { BLOB } from '../support/upstreams/features/server.ts'
import { eventually } from '../support/poll.ts'
import { post, rawSession, type Reading, send } from './raw-session.ts'
import { type Door, type Params, type Talker, TALKERS, type TalkerName } from './talker.ts'

/** One thing that MCP can do, tried by a real client; it throws when it does not work. */
export interface Feature {
  name: string
  run: (connect: () => Promise<Talker>, door: Door) => Promise<void>
}

const textOf = (result: Params): string => {
  const [part] = result['content'] as { type: string; text: string }[]
  if (part?.type !== 'text') throw new Error(`no text: ${JSON.stringify(result)}`)
  return part.text
}
const failureOf = async (promise: Promise<unknown>): Promise<Error & { code?: number; data?: unknown }> => {
  const result = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if ('value' in result) throw new Error(`it did not fail but answered ${JSON.stringify(result.value)}`)
  return result.error as Error
}
/** The methods that came by themselves, without log messages. */
const methodsOf = (talker: Talker): string[] =>
  talker.heard.map(({ method }) => method).filter((method) => method !== 'notifications/message')

const SAMPLED = { model: 'none', role: 'assistant', content: { type: 'text', text: 'Hello „du“' } }
const range = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1)

/** Its session must not count for the next one. */
const leave = async (talker: Talker): Promise<void> => {
  await talker.end()
  await talker.close()
}

/** A feature that needs one client and no more. */
const feature = (name: string, check: (talker: Talker, door: Door) => Promise<void>): Feature => ({
  name,
  run: async (connect, door) => {
    const talker = await connect()
    try {
      await check(talker, door)
    } finally {
      await leave(talker)
    }
  },
})

const two = (name: string, check: (one: Talker, other: Talker) => Promise<void>): Feature => ({
  name,
  run: async (connect) => {
    const [one, other] = await Promise.all([connect(), connect()])
    try {
      await check(one, other)
    } finally {
      await Promise.all([one, other].map(leave))
    }
  },
})

/** Of every revision and transport. */
const ALWAYS: Feature[] = [
  feature('what the server says of itself', async ({ opened }) => {
    const { serverInfo, capabilities, instructions } = opened as Record<string, Params>
    deepEqual(
      [serverInfo?.['name'], serverInfo?.['title'], serverInfo?.['version']],
      ['features', 'All of MCP', '1.2.3'],
    )
    deepEqual(instructions as unknown, 'Use all of it: „ja“, 🙂.')
    deepEqual(Object.keys(capabilities ?? {}).toSorted(), ['completions', 'logging', 'prompts', 'resources', 'tools'])
  }),
  feature('tools are listed as they are', async (talker) => {
    const { tools } = await talker.request('tools/list')
    const echo = (tools as Params[]).find(({ name }) => name === 'echo')
    deepEqual(echo, {
      name: 'echo',
      title: 'The tool echo',
      description: 'Does what echo says: „ja“, 🙂',
      inputSchema: { type: 'object', properties: {} },
    })
  }),
  feature('a tool is called', async (talker) => {
    deepEqual(textOf(await talker.call('echo', { text: 'hello' })), 'hello')
  }),
  feature('a tool that fails says so', async (talker) => {
    deepEqual((await talker.call('fail'))['isError'], true)
  }),
  feature('an error keeps its code, message and data', async (talker) => {
    const { code, data, message } = await failureOf(talker.call('nothing'))
    deepEqual([code, data], [-32_602, { name: 'nothing' }])
    ok(message.includes('No tool nothing'), message)
  }),
  feature('structured output and _meta of a result', async (talker) => {
    const { structuredContent, _meta } = await talker.call('structured', { city: 'Köln' })
    deepEqual(structuredContent, { city: 'Köln', degrees: 12.5, hours: [1, 2, 3], wind: null })
    deepEqual((_meta as Params)['example.com/kept'], { deep: [true] })
  }),
  feature('images, audio, embedded resources and links', async (talker) => {
    const content = (await talker.call('contents'))['content'] as Params[]
    deepEqual(
      content.map(({ type }) => type),
      ['image', 'audio', 'resource', 'resource_link'],
    )
    deepEqual(content[0]?.['annotations'], { audience: ['user'], priority: 0.5 })
  }),
  feature('_meta of a request', async (talker) => {
    const sent = { 'example.com/trace': 'abc', 'example.com/deep': { a: [1, null] } }
    const { meta } = JSON.parse(
      textOf(await talker.request('tools/call', { name: 'meta', arguments: {}, _meta: sent })),
    )
    deepEqual({ ...(meta as Params), ...sent }, meta)
  }),
  feature('progress, all of it, in order', async (talker) => {
    const seen: Params[] = []
    await talker.call('progress', { steps: 20 }, { onprogress: (progress) => seen.push(progress) })
    deepEqual(
      seen.map(({ progress, total, message }) => ({ progress, total, message })),
      range(20).map((progress) => ({ progress, total: 20, message: `step ${progress}` })),
    )
  }),
  feature('sampling', async (talker) => {
    talker.answers.set('sampling/createMessage', ({ messages, maxTokens }) => {
      deepEqual([messages, maxTokens], [[{ role: 'user', content: { type: 'text', text: 'Hi?' } }], 9])
      return SAMPLED
    })
    deepEqual(JSON.parse(textOf(await talker.call('sample'))).content, SAMPLED.content)
  }),
  feature('elicitation, accepted and declined', async (talker) => {
    talker.answers.set('elicitation/create', ({ message, requestedSchema }) => {
      deepEqual([message, (requestedSchema as Params)['required']], ['Your name?', ['name']])
      return { action: 'accept', content: { name: 'Änne' } }
    })
    deepEqual(JSON.parse(textOf(await talker.call('elicit'))).content, { name: 'Änne' })
    talker.answers.set('elicitation/create', () => ({ action: 'decline' }))
    deepEqual(JSON.parse(textOf(await talker.call('elicit'))).action, 'decline')
  }),
  feature('roots', async (talker) => {
    const roots = [{ uri: 'file:///home/a%20b', name: 'mine' }]
    talker.answers.set('roots/list', () => ({ roots }))
    deepEqual(JSON.parse(textOf(await talker.call('roots'))).roots, roots)
  }),
  feature('resources in pages, by template, as text and bytes', async (talker) => {
    const one = await talker.request('resources/list')
    const two = await talker.request('resources/list', { cursor: one['nextCursor'] as string })
    deepEqual(
      [one, two].map(({ resources }) => (resources as Params[]).map(({ name }) => name)),
      [['text'], ['blob']],
    )
    const { resourceTemplates } = await talker.request('resources/templates/list')
    deepEqual((resourceTemplates as Params[])[0]?.['uriTemplate'], 'test://item/{id}')
    const read = async (uri: string) => ((await talker.request('resources/read', { uri }))['contents'] as Params[])[0]
    deepEqual((await read('test://item/7'))?.['text'], 'text of test://item/7')
    deepEqual((await read('test://blob'))?.['blob'], BLOB)
  }),
  feature('prompts with arguments', async (talker) => {
    const { prompts } = await talker.request('prompts/list')
    deepEqual(prompts, [{ name: 'greeting', arguments: [{ name: 'name', required: true }] }])
    const { messages } = await talker.request('prompts/get', { name: 'greeting', arguments: { name: 'Ö' } })
    deepEqual((messages as { content: Params }[])[0]?.content, { type: 'text', text: 'Greet Ö' })
  }),
  feature('completion', async (talker) => {
    const ref = { type: 'ref/prompt', name: 'greeting' }
    const { completion } = await talker.request('completion/complete', { ref, argument: { name: 'name', value: 'pa' } })
    deepEqual(completion, { values: ['paris', 'park'], total: 2, hasMore: false })
  }),
  feature('unicode of all kinds', async (talker) => {
    const said = `ä 🙂 👩‍👩‍👧 \u2028\u2029\u0000\u0007\ufeff\u0085 "\\" \r\n\n data: x\n\nid: 1 \u{10ffff}`
    deepEqual(textOf(await talker.call('echo', { text: said })), said)
  }),
  feature('an answer of 8 MB', async (talker) => {
    deepEqual(textOf(await talker.call('big', { bytes: 8_000_000 })).length, 8_000_000)
  }),
  feature('a question of 3 MB', async (talker) => {
    deepEqual(textOf(await talker.call('length', { text: 'ä'.repeat(1_500_000) })), '1500000')
  }),
  feature('100 calls at once, each with its own progress and answer', async (talker) => {
    const group = crypto.randomUUID()
    const progress = new Map<number, unknown[]>()
    const answers = await Promise.all(
      range(100).map(async (name) => {
        const onprogress = (said: Params) => progress.set(name, [...(progress.get(name) ?? []), said['progress']])
        return textOf(await talker.call('together', { group, wanted: 100, name }, { onprogress }))
      }),
    )
    deepEqual(
      answers,
      range(100).map((name) => `together ${name}`),
    )
    deepEqual(
      range(100).map((name) => progress.get(name)),
      range(100).map((name) => [name]),
    )
  }),
  feature('a call that the client cancels is cancelled, and no other', async (talker) => {
    const controller = new AbortController()
    let begun = 0
    const onprogress = () => void (begun += 1)
    const other = talker.call('sleep', { ms: 500 }, { onprogress })
    const call = talker.call('wait', { name: 'one' }, { signal: controller.signal, onprogress })
    await eventually(() => begun === 2)
    controller.abort('enough')
    await failureOf(call)
    deepEqual(textOf(await other), 'slept 500 ms')
    deepEqual(textOf(await talker.call('echo', { text: 'alive' })), 'alive')
  }),
  feature('a call that the client cancels: the server learns of it', async (talker) => {
    const [controller, name] = [new AbortController(), crypto.randomUUID()]
    let begun = false
    const call = talker.call('wait', { name }, { signal: controller.signal, onprogress: () => void (begun = true) })
    const failed = failureOf(call)
    await eventually(() => begun)
    controller.abort('enough')
    await failed
    await eventually(async () => textOf(await talker.call('abortedNames')).includes(name))
  }),
]

/** What 2026-07-28 alone has. */
const STATELESS: Feature[] = [
  feature('a method that there is not', async (talker) => {
    // The client's own word for 404, which is what the revision wants.
    deepEqual((await failureOf(talker.request('tools/nothing'))).code as unknown, 'CLIENT_HTTP_NOT_IMPLEMENTED')
  }),
  feature('what changes is told to who listens, and only what was asked for', async (talker) => {
    const subscription = await talker.listen?.({ toolsListChanged: true, resourceSubscriptions: ['test://text'] })
    await talker.call('changeSoon')
    await talker.call('touchSoon', { uri: 'test://other' })
    await talker.call('touchSoon', { uri: 'test://text' })
    const updated = 'notifications/resources/updated'
    await eventually(() => methodsOf(talker).includes(updated))
    deepEqual(methodsOf(talker), ['notifications/tools/list_changed', updated])
    deepEqual(talker.heard[1]?.params['uri'], 'test://text')
    await subscription?.close()
    await talker.call('changeSoon')
    await talker.call('sleep', { ms: 150 })
    deepEqual(methodsOf(talker).length, 2)
  }),
]

/** Of the revisions with a session, over either transport. */
const IN_SESSION: Feature[] = [
  feature('a method that there is not', async (talker) => {
    deepEqual((await failureOf(talker.request('tools/nothing'))).code, -32_601)
  }),
  feature('ping, by the client and by the server', async (talker) => {
    deepEqual(await talker.request('ping'), {})
    deepEqual(JSON.parse(textOf(await talker.call('ping'))), {})
  }),
  feature('the server knows the client and what it can', async (talker) => {
    const [info, capabilities] = JSON.parse(textOf(await talker.call('client'))) as Params[]
    deepEqual(info, { name: 'parity', version: '1.0.0' })
    deepEqual(Object.keys(capabilities ?? {}).toSorted(), ['elicitation', 'roots', 'sampling'])
  }),
  feature('log messages in a call, and progress, in order', async (talker) => {
    const order: string[] = []
    const push = talker.heard.push.bind(talker.heard)
    talker.heard.push = (...messages) => {
      order.push(...messages.map(({ params }) => String(params['data'])))
      return push(...messages)
    }
    await talker.call(
      'mixed',
      { steps: 5 },
      { onprogress: ({ progress }) => void order.push(`progress ${String(progress)}`) },
    )
    // Both clients hand notifications to their handlers in a later turn than progress; the wire's order is checked raw.
    const ofKind = (kind: string) => order.filter((entry) => entry.startsWith(kind))
    deepEqual(
      [ofKind('log'), ofKind('progress')],
      [range(5).map((step) => `log ${step}`), range(5).map((step) => `progress ${step}`)],
    )
  }),
  feature('log messages of the level asked for, and above', async (talker) => {
    await talker.request('logging/setLevel', { level: 'error' })
    await talker.call('levels')
    const levels = () => talker.heard.map(({ params }) => params['level'])
    await eventually(() => levels().length === 4)
    deepEqual(levels(), ['error', 'critical', 'alert', 'emergency'])
    await talker.request('logging/setLevel', { level: 'debug' })
    await talker.call('levels')
    await eventually(() => levels().length === 12)
  }),
  feature('a log message while nothing is in flight', async (talker) => {
    await talker.call('logSoon', { data: { nested: ['ä'] } })
    await eventually(() => talker.heard.length > 0)
    deepEqual(talker.heard, [{ method: 'notifications/message', params: { level: 'error', data: { nested: ['ä'] } } }])
  }),
  feature('lists that change, while nothing is in flight', async (talker) => {
    await talker.call('changeSoon')
    const changes = ['tools', 'prompts', 'resources'].map((what) => `notifications/${what}/list_changed`)
    await eventually(() => methodsOf(talker).length === 3)
    deepEqual(methodsOf(talker), changes)
  }),
  feature('a resource is subscribed to, and let go', async (talker) => {
    await talker.request('resources/subscribe', { uri: 'test://text' })
    await talker.call('touchSoon', { uri: 'test://other' })
    await talker.call('touchSoon', { uri: 'test://text' })
    await eventually(() => talker.heard.length > 0)
    deepEqual(talker.heard, [{ method: 'notifications/resources/updated', params: { uri: 'test://text' } }])
    await talker.request('resources/unsubscribe', { uri: 'test://text' })
    await talker.call('touchSoon', { uri: 'test://text' })
    await talker.call('sleep', { ms: 150 })
    deepEqual(talker.heard.length, 1)
  }),
  feature('roots that change', async (talker) => {
    await talker.notify('notifications/roots/list_changed')
    await eventually(async () => textOf(await talker.call('heard')).includes('roots/list_changed'))
  }),
  feature('a client that refuses: the error reaches the server', async (talker) => {
    talker.answers.set('sampling/createMessage', () => {
      throw Object.assign(new Error('The user said no'), { code: -1 })
    })
    const { failed } = JSON.parse(textOf(await talker.call('sample'))) as { failed: { code: number; message: string } }
    deepEqual(failed.code, -1)
    ok(failed.message.includes('The user said no'), failed.message)
  }),
  feature('a call that the client cancels: the server learns which, and why', async (talker) => {
    const names = range(3).map(() => crypto.randomUUID())
    const controllers = names.map(() => new AbortController())
    let begun = 0
    const calls = controllers.map(({ signal }, at) =>
      failureOf(talker.call('wait', { name: names[at] }, { signal, onprogress: () => void (begun += 1) })),
    )
    const aborted = async () =>
      (JSON.parse(textOf(await talker.call('aborted'))) as string[]).filter((entry) =>
        names.some((name) => entry.startsWith(name)),
      )
    await eventually(() => begun === 3)
    controllers[1]?.abort('no longer needed')
    await calls[1]
    await eventually(async () => (await aborted()).includes(`${names[1]}: no longer needed`))
    for (const name of [names[0], names[2]]) ok(!(await aborted()).join().includes(String(name)))
    for (const controller of controllers) controller.abort('end')
    await Promise.all(calls)
    await eventually(async () => (await aborted()).length === 3)
  }),
  feature('a question that the server takes back', async (talker) => {
    let takenBack = false
    let asked = false
    talker.answers.set('sampling/createMessage', async (_params, signal) => {
      asked = true
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      takenBack = true
      return SAMPLED
    })
    // SDK 1 can not take back what has the id 0, the first of a session.
    await talker.call('ping')
    const question = talker.call('question')
    await eventually(() => asked)
    await talker.call('takeBack')
    await eventually(() => takenBack)
    ok(textOf(await question).startsWith('taken back'), 'the server did not take it back')
  }),
  feature('three questions at once, each answered to who asked', async (talker) => {
    talker.answers.set('sampling/createMessage', () => SAMPLED)
    talker.answers.set('elicitation/create', () => ({ action: 'cancel' }))
    talker.answers.set('roots/list', () => ({ roots: [{ uri: 'file:///r' }] }))
    const [sampled, elicited, rooted] = await Promise.all(
      ['sample', 'elicit', 'roots'].map(async (name) => JSON.parse(textOf(await talker.call(name)))),
    )
    deepEqual([sampled.model, elicited.action, rooted.roots], ['none', 'cancel', [{ uri: 'file:///r' }]])
  }),
  feature('methods and notifications that MCP does not know', async (talker) => {
    deepEqual(await talker.request('features/custom', { a: [1, { b: 'ä' }] }), { echoed: { a: [1, { b: 'ä' }] } })
    await talker.notify('notifications/mine', { some: 'thing' })
    await eventually(async () => textOf(await talker.call('heard')).includes('notifications/mine'))
    await talker.call('customSoon')
    await eventually(() => methodsOf(talker).includes('notifications/features'))
  }),
  two('two clients: each is told of what it subscribed to', async (one, other) => {
    await one.request('resources/subscribe', { uri: 'test://one' })
    await other.request('resources/subscribe', { uri: 'test://other' })
    for (const uri of ['test://one', 'test://other'])
      for (const talker of [one, other]) await talker.call('touchSoon', { uri })
    await eventually(() => one.heard.length > 0 && other.heard.length > 0)
    const urisOf = ({ heard }: Talker) => [...new Set(heard.map(({ params }) => params['uri']))]
    deepEqual([urisOf(one), urisOf(other)], [['test://one'], ['test://other']])
  }),
  two('two clients: each is asked what concerns it', async (one, other) => {
    one.answers.set('roots/list', () => ({ roots: [{ uri: 'file:///one' }] }))
    other.answers.set('roots/list', () => ({ roots: [{ uri: 'file:///other' }] }))
    const roots = await Promise.all(
      [one, other].map(async (talker) => JSON.parse(textOf(await talker.call('roots'))).roots),
    )
    deepEqual(roots, [[{ uri: 'file:///one' }], [{ uri: 'file:///other' }]])
  }),
  two('two clients: each hears its own log messages', async (one, other) => {
    await one.call('logSoon', { data: 'mine' })
    await eventually(() => one.heard.length > 0)
    await other.call('levels')
    await eventually(() => other.heard.length === 8)
    deepEqual(
      one.heard.map(({ params }) => params['data']),
      ['mine'],
    )
  }),
]

/** What is checked without a client: bytes that no client sends, and what clients do not show. */
const raw = (name: string, check: (door: Door) => Promise<void>): Feature => ({
  name,
  run: (_connect, door) => check(door),
})

const ON_THE_WIRE: Feature[] = [
  raw('every revision is negotiated', async (door) => {
    for (const revision of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']) {
      const { result, end } = await rawSession(door, revision)
      deepEqual(result['protocolVersion'], revision)
      await end()
    }
    const { result, end } = await rawSession(door, '1999-01-01')
    deepEqual(result['protocolVersion'], '2025-11-25')
    await end()
  }),
  raw('ids come back as they were', async (door) => {
    const { call, end } = await rawSession(door)
    for (const id of ['a', '', '1', 1, 0, -7, 'ä🙂', Number.MAX_SAFE_INTEGER, '{"id":1}']) {
      const { result } = await (await call(id, 'meta')).answerTo(id)
      deepEqual(typeof result, 'object')
    }
    await end()
  }),
  raw('the same id as a number and as a text, at once', async (door) => {
    const { call, end } = await rawSession(door)
    const answers = await Promise.all(
      [1, '1'].map(async (id) => {
        const { result } = await (await call(id, 'sleep', { ms: id === 1 ? 60 : 40 })).answerTo(id)
        return textOf(result ?? {})
      }),
    )
    deepEqual(answers, ['slept 60 ms', 'slept 40 ms'])
    await end()
  }),
  raw('progress tokens of both kinds', async (door) => {
    const { call, end } = await rawSession(door)
    for (const progressToken of ['a token', 7, 0]) {
      const reading = await call(1, 'progress', { steps: 2, atOnce: true }, { progressToken })
      await reading.answerTo(1)
      const tokens = reading.messages.filter(({ method }) => method).map(({ params }) => params?.['progressToken'])
      deepEqual(tokens, [progressToken, progressToken])
    }
    await end()
  }),
  raw('progress comes on the stream of its own call, and on no other', async (door) => {
    const { call, listen, end } = await rawSession(door)
    const stream = await listen()
    const group = crypto.randomUUID()
    const names = [1, 2, 3]
    const readings = await Promise.all(
      names.map((name) =>
        call(name, 'together', { group, wanted: 3, name, atOnce: true }, { progressToken: `t${name}` }),
      ),
    )
    await Promise.all(readings.map((reading, at) => reading.answerTo(names[at])))
    const tokensOn = ({ messages }: Reading) =>
      messages.filter(({ method }) => method).map(({ params }) => params?.['progressToken'])
    deepEqual(
      readings.map(tokensOn),
      names.map((name) => [`t${name}`]),
    )
    await (await call(4, 'changeSoon')).answerTo(4)
    await stream.until(({ messages }) => messages.length > 0)
    deepEqual(stream.messages[0]?.method, 'notifications/tools/list_changed')
    await stream.drop()
    await end()
  }),
  raw('log messages, progress and the answer in one order, on one stream', async (door) => {
    const { call, end } = await rawSession(door)
    const reading = await call(1, 'mixed', { steps: 3, atOnce: true }, { progressToken: 't' })
    await reading.answerTo(1)
    const [log, progress] = ['notifications/message', 'notifications/progress']
    deepEqual(
      reading.messages.map(({ method }) => method ?? 'the answer'),
      [log, progress, log, progress, log, progress, 'the answer'],
    )
    await end()
  }),
  raw('a stream that broke off is resumed by Last-Event-ID', async (door) => {
    const { call, listen, end } = await rawSession(door)
    const broken = await call(5, 'sleep', { ms: 300 }, { progressToken: 't' })
    await broken.until(({ messages }) => messages.length > 0)
    const lastId = broken.events.findLast(({ id }) => id !== null)?.id ?? null
    await broken.drop()
    if (lastId === null) throw new Error('the events have no ids')
    const resumed = await listen({ 'Last-Event-ID': lastId })
    deepEqual(resumed.status, 200)
    deepEqual(textOf((await resumed.answerTo(5)).result ?? {}), 'slept 300 ms')
    ok(!resumed.messages.some(({ method }) => method === 'notifications/progress'), 'what was read comes again')
    await resumed.drop()
    await end()
  }),
  raw('an answer that came while nobody listened is kept for who resumes', async (door) => {
    const { call, listen, say, end } = await rawSession(door)
    const broken = await call(5, 'sleep', { ms: 100 }, { progressToken: 't' })
    await broken.until(({ messages }) => messages.length > 0)
    const lastId = broken.events.findLast(({ id }) => id !== null)?.id ?? ''
    await broken.drop()
    await (await call(6, 'sleep', { ms: 300 })).answerTo(6)
    deepEqual((await (await say({ id: 7, method: 'ping' })).answerTo(7)).result, {})
    const resumed = await listen({ 'Last-Event-ID': lastId })
    deepEqual(textOf((await resumed.answerTo(5)).result ?? {}), 'slept 100 ms')
    await resumed.drop()
    await end()
  }),
  raw('the stream of GET is resumed too', async (door) => {
    const { call, listen, end } = await rawSession(door)
    const stream = await listen()
    await (await call(1, 'logSoon', { data: 'first' })).answerTo(1)
    await stream.until(({ messages }) => messages.length > 0)
    const lastId = stream.events.findLast(({ id }) => id !== null)?.id ?? ''
    await stream.drop()
    await (await call(2, 'logSoon', { data: 'second' })).answerTo(2)
    // With a call in flight it would belong there; if it comes later than this, it comes on the stream itself.
    await Bun.sleep(100)
    const resumed = await listen({ 'Last-Event-ID': lastId })
    await resumed.until(({ messages }) => messages.length > 0)
    deepEqual(
      resumed.messages.map(({ params }) => params?.['data']),
      ['second'],
    )
    await resumed.drop()
    await end()
  }),
  raw('DELETE ends the session, and then it is 404', async (door) => {
    const { call, listen, end } = await rawSession(door)
    deepEqual((await end()).status, 200)
    deepEqual([(await call(1, 'echo')).status, (await listen()).status, (await end()).status], [404, 404, 404])
  }),
  raw('a session that never was is 404', async (door) => {
    const headers = { 'Mcp-Session-Id': 'nobody', 'Mcp-Protocol-Version': '2025-11-25' }
    const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
    deepEqual((await post(door, ping, headers)).status, 404)
    deepEqual((await send(door, 'GET', { Accept: 'text/event-stream', ...headers })).status, 404)
  }),
  raw('a request that is in no session is 400', async (door) => {
    deepEqual((await post(door, JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }))).status, 400)
  }),
  raw('one stream of GET at a time', async (door) => {
    const { listen, end } = await rawSession(door)
    const [one, two] = [await listen(), await listen()]
    deepEqual([one.status, two.status], [200, 409])
    await one.drop()
    await end()
  }),
  raw('what is no message, or not asked for as it must be, is refused', async (door) => {
    const { headers, say, end } = await rawSession(door)
    const broken = await post(door, '{"jsonrpc":"2.0",', headers)
    deepEqual([broken.status, (await broken.answerTo(null)).error?.['code']], [400, -32_700])
    deepEqual((await post(door, '{"some":"thing"}', headers)).status, 400)
    deepEqual((await post(door, '[]', headers)).status, 400)
    const ping = { id: 1, method: 'ping' }
    deepEqual((await say(ping, { Accept: 'application/json' })).status, 406)
    deepEqual((await say(ping, { 'Content-Type': 'text/plain' })).status, 415)
    deepEqual((await say(ping, { 'Mcp-Protocol-Version': '1999-01-01' })).status, 400)
    deepEqual((await send(door, 'PUT', headers)).status, 405)
    await end()
  }),
  raw('a session is initialized once', async (door) => {
    const { say, end } = await rawSession(door)
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } }
    deepEqual((await say({ id: 1, method: 'initialize', params })).status, 400)
    await end()
  }),
  raw('a batch, as 2025-03-26 had it', async (door) => {
    const { say, end } = await rawSession(door, '2025-03-26')
    const calls = [1, 2].map((id) => ({
      id,
      method: 'tools/call',
      params: { name: 'echo', arguments: { text: `${id}` } },
    }))
    const reading = await say([...calls, { method: 'notifications/mine' }])
    for (const id of [1, 2]) deepEqual(textOf((await reading.answerTo(id)).result ?? {}), String(id))
    deepEqual((await say([{ method: 'notifications/a' }, { method: 'notifications/b' }])).status, 202)
    await end()
  }),
]

export const FEATURES: { over: TalkerName; features: Feature[] }[] = [
  { over: 'SDK 1', features: [...ALWAYS, ...IN_SESSION, ...ON_THE_WIRE] },
  { over: 'SDK 2', features: [...ALWAYS, ...IN_SESSION] },
  { over: 'SDK 1 over HTTP+SSE', features: [...ALWAYS, ...IN_SESSION] },
  { over: 'SDK 2, 2026-07-28', features: [...ALWAYS, ...STATELESS] },
]

/** Null: it works; else why not. A client of one's own waits for a minute, so that nothing may hang. */
export const tryFeature = async (feature: Feature, over: TalkerName, door: Door, withinMs = 15_000) => {
  const late = Promise.withResolvers<string>()
  const timer = setTimeout(() => late.resolve(`nothing came within ${withinMs} ms`), withinMs)
  const tried = feature
    .run(() => TALKERS[over](door), door)
    .then(
      () => null,
      (error: unknown) => String(error instanceof Error ? (error.cause ?? error.message) : error).slice(0, 1_000),
    )
  return Promise.race([tried, late.promise]).finally(() => clearTimeout(timer))
}
