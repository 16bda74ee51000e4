/** The tools of both MCP upstreams, so that a test may be told about either. */

type Tool = {
  name: string
  description: string
  annotations?: { readOnlyHint: boolean }
  inputSchema: { type: 'object'; properties: Record<string, { type: string }>; required: string[] }
}

export const TOOLS: Tool[] = [
  {
    name: 'echo',
    description: 'Answers what it was given',
    inputSchema: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
  },
  {
    name: 'slow',
    description: 'Answers after so many seconds, with progress ten times a second',
    annotations: { readOnlyHint: true },
    inputSchema: { type: 'object', properties: { seconds: { type: 'number' } }, required: ['seconds'] },
  },
]

export type Call = {
  name: string
  args: Record<string, unknown>
  signal: AbortSignal
  progress: (progress: number, total: number) => Promise<void>
}

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })

export const callTool = async ({ name, args, signal, progress }: Call) => {
  if (name === 'echo') return text(`echo: ${String(args['text'])}`)
  if (name !== 'slow') throw new Error(`no tool ${name}`)
  const total = Math.ceil(Number(args['seconds']) * 10)
  for (let step = 1; step <= total && !signal.aborted; step += 1) {
    await Bun.sleep(100)
    await progress(step, total)
  }
  return text(signal.aborted ? 'aborted' : 'slept')
}

/** Something an upstream saw, and when (performance.now()). */
export type Seen = { at: number; method: string; sessionId: string | null; closedAt: number | null; headers: Headers }
export type Noted = { at: number; what: string }
