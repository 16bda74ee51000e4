import { answerCalls } from './child.ts'

/** How often each was done to its end. */
export type Reads = { done: { verified: number; exported: number; backedUp: number }; failure: string | null }

const PATHS = { verified: '/audit/verification', exported: '/audit/export?format=jsonl', backedUp: '/backup' } as const

const done: Reads['done'] = { verified: 0, exported: 0, backedUp: 0 }
let failure: Reads['failure'] = null
let isReading = false
let loops: Promise<void>[] = []

const readWhole = async (unix: string, path: string): Promise<void> => {
  const headers = { 'X-Portcullis-Actor': 'local:0' }
  const answer = await fetch(`http://localhost/api/v1${path}`, { unix, headers })
  if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`)
  // Read and forgotten: it may be larger than memory.
  for await (const chunk of answer.body ?? []) void chunk
}

const begin = (unix: string): void => {
  isReading = true
  loops = (Object.keys(PATHS) as (keyof typeof PATHS)[]).map(async (what) => {
    try {
      while (isReading) {
        await readWhole(unix, PATHS[what])
        done[what] += 1
      }
    } catch (error) {
      failure = String(error)
    }
  })
}

const end = async (): Promise<void> => {
  isReading = false
  await Promise.all(loops)
}

answerCalls({ begin, end, 'so-far': (): Reads => ({ done, failure }) })
