import { setTimeout as sleep } from 'node:timers/promises'
import {
  type CallToolResult,
  fromJsonSchema,
  type InputRequests,
  inputRequired,
  type McpServer,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { answerTo, capabilitiesOf, elicit } from './asking.ts'
import { says, type Tool, type Tools } from './tools.ts'

/** The extension of SEP-2663: a call may answer with a task, which the client then asks for its result. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

type Status = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'

/** What runs; it may ask the client, and is told when it is not wanted any more. */
type Work = (task: Task) => Promise<CallToolResult>

class Task {
  readonly taskId = crypto.randomUUID()
  readonly createdAt = new Date()
  lastUpdatedAt = this.createdAt
  status: Status = 'working'
  /** What the end adds: a result, or an error. */
  outcome: Record<string, unknown> = {}
  readonly cancelled = new AbortController()
  inputRequests: InputRequests = {}
  #answered = Promise.withResolvers<void>()

  constructor(work: Work) {
    work(this).then(
      (result) => this.#end('completed', { result }),
      (error: unknown) => {
        if (error instanceof ProtocolError)
          return this.#end('failed', { error: { code: error.code, message: error.message } })
        // What a tool fails with is a result.
        this.#end('completed', { result: { ...says(String(error)), isError: true } })
      },
    )
  }

  /** Without what it asks for and what came out, which only `tasks/get` tells. */
  get envelope() {
    return {
      taskId: this.taskId,
      status: this.status,
      createdAt: this.createdAt.toISOString(),
      lastUpdatedAt: this.lastUpdatedAt.toISOString(),
      ttlMs: 60_000,
      pollIntervalMs: 100,
    }
  }

  get details() {
    const { inputRequests, outcome, status } = this
    return { ...this.envelope, ...(status === 'input_required' && { inputRequests }), ...outcome }
  }

  /** Resolves when the client has answered all. */
  ask(inputRequests: InputRequests): Promise<void> {
    this.inputRequests = inputRequests
    this.#answered = Promise.withResolvers()
    this.#become('input_required')
    return this.#answered.promise
  }

  answer(keys: string[]): void {
    for (const key of keys) delete this.inputRequests[key]
    if (this.status !== 'input_required' || Object.keys(this.inputRequests).length > 0) return
    this.#become('working')
    this.#answered.resolve()
  }

  cancel(): void {
    this.#end('cancelled', {})
    this.cancelled.abort()
  }

  #end(status: Status, outcome: Record<string, unknown>): void {
    if (this.status !== 'working' && this.status !== 'input_required') return
    this.outcome = outcome
    this.#become(status)
  }

  #become(status: Status): void {
    this.status = status
    this.lastUpdatedAt = new Date()
  }
}

const requireTasks = (context: ServerContext): void => {
  if (!declaresTasks(context))
    throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } })
}
const declaresTasks = (context: ServerContext): boolean =>
  capabilitiesOf(context).extensions?.[TASKS_EXTENSION] !== undefined

/** The tasks of one upstream; no session holds them. */
export class Tasks {
  readonly #byId = new Map<string, Task>()

  start(work: Work): CallToolResult {
    const task = new Task(work)
    this.#byId.set(task.taskId, task)
    // The SDK insists on content in what a call answers.
    return { content: [], resultType: 'task', ...task.envelope }
  }

  register(server: McpServer): void {
    const params = fromJsonSchema<{ taskId: string }>({
      type: 'object',
      properties: { taskId: { type: 'string' } },
      required: ['taskId'],
    })
    const handle = (method: string, answer: (task: Task, context: ServerContext) => Record<string, unknown>) =>
      server.server.setRequestHandler(method, { params }, ({ taskId }, context) => {
        requireTasks(context)
        const task = this.#byId.get(taskId)
        if (!task) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `No task ${taskId}`)
        return answer(task, context)
      })
    handle('tasks/get', (task) => task.details)
    handle('tasks/update', (task, { mcpReq }) => {
      task.answer(Object.keys(mcpReq.inputResponses ?? {}))
      return {}
    })
    handle('tasks/cancel', (task) => {
      task.cancel()
      return {}
    })
  }

  stop(): void {
    for (const task of this.#byId.values()) task.cancel()
  }
}

const CONFIRM = { confirm: { type: 'boolean' } }

export const taskTools = (tasks: Tasks): Tools => {
  /** A tool that is a task for every client that knows tasks, and for any other an error. */
  const asTask = (description: string, work: Work): Tool => ({
    description,
    call: (_args, context) => {
      requireTasks(context)
      return tasks.start(work)
    },
  })
  return {
    greet: {
      description: 'Greets, and is never a task',
      call: ({ name }) => says(`Hello, ${String(name)}!`),
    },
    slow_compute: {
      description: 'Takes so many seconds, as a task where the client knows tasks',
      call: async ({ seconds, label }, context) => {
        const work = async (signal?: AbortSignal) => {
          await sleep(Number(seconds) * 1_000, undefined, { signal })
          return says(`Computed ${String(label)}`)
        }
        return declaresTasks(context) ? tasks.start(({ cancelled }) => work(cancelled.signal)) : work()
      },
    },
    failing_job: asTask('A task whose tool fails', () => Promise.reject(new Error('The job failed'))),
    protocol_error_job: asTask('A task that fails itself', () =>
      Promise.reject(new ProtocolError(ProtocolErrorCode.InternalError, 'The protocol failed')),
    ),
    confirm_delete: asTask('A task that asks for a confirmation', async (task) => {
      await task.ask({ confirm: elicit('Delete it?', CONFIRM) })
      return says('Deleted')
    }),
    multi_input: asTask('A task that asks two things at once', async (task) => {
      await task.ask({ first: elicit('The first?', CONFIRM), second: elicit('The second?', CONFIRM) })
      return says('Both were answered')
    }),
    test_tool_with_task: {
      description: 'Asks before it becomes a task',
      call: (_args, context) => {
        requireTasks(context)
        const answer = answerTo(context, 'user_name')
        if (answer !== null) return tasks.start(() => Promise.resolve(says(answer)))
        return inputRequired({
          inputRequests: { user_name: elicit('What is your name?', { name: { type: 'string' } }) },
        })
      },
    },
  }
}
