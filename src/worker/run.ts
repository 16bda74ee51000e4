import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../error.ts'

/** A Worker's file: beside this one in a checkout, under its own path in the executable. */
const fileOf = (name: string): string =>
  [
    join(import.meta.dir, `${name}.ts`),
    join(import.meta.dir, 'worker', `${name}.js`),
    join(import.meta.dir, 'src/worker', `${name}.js`),
  ].find((file) => existsSync(file)) ?? `./src/worker/${name}.ts`

/** Runs one request in a Worker of its own, and ends it. */
export const runWorker = <Request, Answer extends { ok: boolean; error?: string }>(
  name: string,
  request: Request,
): Promise<Answer & { ok: true }> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(fileOf(name))
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      worker.terminate()
      if (data.ok) resolve(data as Answer & { ok: true })
      else reject(new AppError('unavailable', data.error ?? 'the worker failed'))
    }
    worker.onerror = (event) => {
      worker.terminate()
      reject(new AppError('unavailable', event.message))
    }
    worker.postMessage(request)
  })
