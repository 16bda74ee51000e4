import { join } from 'node:path'
import { pinned, type Side } from './machine.ts'

type Call = { id: number; method: string; argument: unknown }
type Reply = { id: number; value?: unknown; error?: string }

/** A script of this folder as a process of its own, so that it shares no event loop with what is measured. */
export const startChild = (script: string, side: Side = 'load', env: Record<string, string> = {}) => {
  const waiting = new Map<number, (reply: Reply) => void>()
  let nextId = 0
  const child = Bun.spawn(pinned(side, [process.execPath, join(import.meta.dir, script)]), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
    ipc: (reply: Reply) => {
      waiting.get(reply.id)?.(reply)
      waiting.delete(reply.id)
    },
    onExit: () => {
      for (const [id, settle] of waiting) settle({ id, error: `${script} ended` })
    },
  })
  return {
    pid: child.pid,
    call: <T>(method: string, argument: unknown = null): Promise<T> =>
      new Promise((resolve, reject) => {
        nextId += 1
        waiting.set(nextId, ({ value, error }) => {
          if (error === undefined) resolve(value as T)
          else reject(new Error(error))
        })
        child.send({ id: nextId, method, argument } satisfies Call)
      }),
    stop: () => {
      child.kill('SIGKILL')
      return child.exited
    },
  }
}
export type Child = ReturnType<typeof startChild>

/** The child's side: answers calls until its parent goes. */
export const answerCalls = (methods: Record<string, (argument: never) => unknown>): void => {
  process.on('disconnect', () => process.exit(0))
  process.on('message', async ({ id, method, argument }: Call) => {
    let reply: Reply
    try {
      reply = { id, value: await methods[method]?.(argument as never) }
    } catch (error) {
      reply = { id, error: String(error) }
    }
    process.send?.(reply)
  })
}
