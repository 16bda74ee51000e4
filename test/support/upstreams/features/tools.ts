import { setTimeout as sleep } from 'node:timers/promises'
import {
  type CallToolResult,
  type InputRequests,
  type InputRequiredResult,
  inputRequired,
  type Server,
  type ServerContext,
  type ServerNotifier,
} from '@modelcontextprotocol/server'

/** What a server remembers of its client. */
export interface Session {
  server: Server
  notify: ServerNotifier
  /** Calls that were cancelled, each with the reason. */
  aborted: string[]
  /** Notifications of the client that mean nothing to the SDK. */
  heard: string[]
  subscribed: Set<string>
}

type Args = Record<string, unknown>
type Result = CallToolResult | InputRequiredResult
type Feature = (args: Args, session: Session, context: ServerContext) => Result | Promise<Result>

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const
const SAMPLE = { messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Hi?' } }], maxTokens: 9 }
const FORM = {
  message: 'Your name?',
  requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] },
}
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] })
const json = (value: unknown): CallToolResult => text(JSON.stringify(value ?? null))

const progressOf =
  ({ mcpReq }: ServerContext) =>
  async (progress: number, total: number) => {
    const progressToken = mcpReq._meta?.progressToken
    if (progressToken === undefined) return
    const params = { progressToken, progress, total, message: `step ${progress}` }
    await mcpReq.notify({ method: 'notifications/progress', params })
  }

/**
 * Until the client has read what was said: it forgets a call with its answer, and with it a progress that it has read
 * in the same turn. Who can't be asked has to be waited for.
 */
const heardOut = async ({ mcpReq }: ServerContext): Promise<void> => {
  try {
    await mcpReq.send({ method: 'ping' })
  } catch {
    await sleep(50)
  }
}

/** Up to 2025-11-25 a request to the client, from 2026-07-28 on an answer that wants the call again. */
const asking =
  (inputRequests: InputRequests, push: (session: Session, context: ServerContext) => Promise<unknown>): Feature =>
  async (_args, session, context) => {
    const said = context.mcpReq.inputResponses?.['it']
    if (said !== undefined) return json(said)
    if (session.server.getNegotiatedProtocolVersion() === '2026-07-28') return inputRequired({ inputRequests })
    try {
      return json(await push(session, context))
    } catch (error) {
      const { code, message } = error as Error & { code?: number }
      return json({ failed: { code: code ?? null, message } })
    }
  }

/** In this process: what `together` and `question` of one session tell another call of it. */
const waiting = new Map<string, { count: number; all: PromiseWithResolvers<void> }>()
const questions = new Map<Session, AbortController>()
/** Of calls that were cancelled, whoever's: on 2026-07-28 nothing joins one request to another. */
const abortedNames: unknown[] = []
let calls = 0

const FEATURES: Record<string, Feature> = {
  echo: ({ text: said }) => text(String(said)),
  length: ({ text: said }) => text(String(String(said).length)),
  big: ({ bytes }) => text('x'.repeat(Number(bytes))),
  fail: () => ({ ...text('It failed'), isError: true }),
  count: () => text(String((calls += 1))),
  structured: ({ city }) => ({
    content: [{ type: 'text', text: `It rains in ${String(city)}` }],
    structuredContent: { city, degrees: 12.5, hours: [1, 2, 3], wind: null },
    _meta: { 'example.com/kept': { deep: [true] } },
  }),
  contents: () => ({
    content: [
      { type: 'image', data: PNG, mimeType: 'image/png', annotations: { audience: ['user'], priority: 0.5 } },
      { type: 'audio', data: 'UklGRg==', mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'test://text', mimeType: 'text/plain', text: 'embedded' } },
      { type: 'resource_link', uri: 'test://text', name: 'text', description: 'a link' },
    ],
  }),
  meta: (_args, _session, { mcpReq }) => {
    const { progressToken: _, ...meta } = mcpReq._meta ?? {}
    return json({ id: mcpReq.id, meta })
  },
  client: (_args, { server }) => json([server.getClientVersion(), server.getClientCapabilities()]),
  progress: async ({ steps, atOnce }, _session, context) => {
    const progress = progressOf(context)
    for (let step = 1; step <= Number(steps); step += 1) await progress(step, Number(steps))
    if (!atOnce) await heardOut(context)
    return text('done')
  },
  /** Log messages and progress by turns: they must stay in order. */
  mixed: async ({ steps, atOnce }, _session, context) => {
    const progress = progressOf(context)
    for (let step = 1; step <= Number(steps); step += 1) {
      await context.mcpReq.log('warning', `log ${step}`, 'mixed')
      await progress(step, Number(steps))
    }
    if (!atOnce) await heardOut(context)
    return text('done')
  },
  levels: async (_args, _session, { mcpReq }) => {
    for (const level of LEVELS) await mcpReq.log(level, { level }, 'levels')
    return text('done')
  },
  sample: asking({ it: inputRequired.createMessage(SAMPLE) }, (_session, { mcpReq }) => mcpReq.requestSampling(SAMPLE)),
  elicit: asking({ it: inputRequired.elicit(FORM) }, (_session, { mcpReq }) => mcpReq.elicitInput(FORM)),
  roots: asking({ it: inputRequired.listRoots() }, ({ server }) => server.listRoots()),
  ping: async (_args, _session, { mcpReq }) => json(await mcpReq.send({ method: 'ping' })),
  /** Asks the client, and takes it back when `takeBack` is called. */
  question: async (_args, session, { mcpReq }) => {
    const controller = new AbortController()
    questions.set(session, controller)
    try {
      return json(await mcpReq.requestSampling(SAMPLE, { signal: controller.signal }))
    } catch (error) {
      return text(`taken back: ${String(error)}`)
    }
  },
  takeBack: (_args, session) => {
    questions.get(session)?.abort('not needed any more')
    return text('done')
  },
  /** Ends by being cancelled alone. */
  wait: async ({ name }, session, context) => {
    await progressOf(context)(1, 1)
    await new Promise((resolve) => context.mcpReq.signal.addEventListener('abort', resolve, { once: true }))
    abortedNames.push(name)
    session.aborted.push(`${String(name)}: ${String(context.mcpReq.signal.reason)}`)
    return text('cancelled')
  },
  aborted: (_args, { aborted }) => json(aborted),
  abortedNames: () => json(abortedNames),
  heard: (_args, { heard }) => json(heard),
  sleep: async ({ ms }, _session, context) => {
    await progressOf(context)(1, 1)
    await sleep(Number(ms))
    return text(`slept ${String(ms)} ms`)
  },
  /** Answers when as many are waiting as are wanted: so many are in flight at once, whatever the machine. */
  together: async ({ group, wanted, name, atOnce }, _session, context) => {
    const key = String(group)
    const meeting = waiting.get(key) ?? { count: 0, all: Promise.withResolvers<void>() }
    waiting.set(key, meeting)
    meeting.count += 1
    if (meeting.count === Number(wanted)) meeting.all.resolve()
    await meeting.all.promise
    await progressOf(context)(Number(name), Number(wanted))
    if (!atOnce) await heardOut(context)
    return text(`together ${String(name)}`)
  },
  /** After the answer, when nothing is in flight. */
  changeSoon: (_args, { notify }) => {
    setTimeout(() => {
      notify.toolsChanged()
      notify.promptsChanged()
      notify.resourcesChanged()
    }, 50)
    return text('soon')
  },
  touchSoon: ({ uri }, { notify, subscribed, server }) => {
    // Who listens on 2026-07-28 said so to the SDK.
    const isModern = server.getNegotiatedProtocolVersion() === '2026-07-28'
    setTimeout(() => {
      if (isModern || subscribed.has(String(uri))) notify.resourceUpdated(String(uri))
    }, 50)
    return text('soon')
  },
  logSoon: ({ data }, { server }) => {
    setTimeout(() => void server.sendLoggingMessage({ level: 'error', data }), 50)
    return text('soon')
  },
  customSoon: (_args, { server }) => {
    setTimeout(() => void server.notification({ method: 'notifications/features', params: { some: 'thing' } }), 50)
    return text('soon')
  },
}

export const TOOLS = Object.keys(FEATURES).map((name) => ({
  name,
  title: `The tool ${name}`,
  description: `Does what ${name} says: „ja“, 🙂`,
  inputSchema: { type: 'object' as const, properties: {} },
  ...(name === 'structured' && { outputSchema: { type: 'object' as const, properties: { city: { type: 'string' } } } }),
}))

export const callFeature = (session: Session, name: string, args: Args, context: ServerContext) => {
  const feature = FEATURES[name]
  if (!feature) throw Object.assign(new Error(`No tool ${name}`), { code: -32_602, data: { name } })
  return feature(args, session, context)
}
