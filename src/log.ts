import { pino, type Logger } from 'pino'
import type { LogLevel } from './config.ts'
import { redact } from './secret.ts'

export type { Logger }

/** One line for people: time, level, message, and what belongs to it. */
const textLine = (json: string): string => {
  const { level, time, msg, err, ...rest } = JSON.parse(json) as Record<string, unknown>
  const details = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const cause = typeof err === 'object' && err !== null && 'message' in err ? `: ${String(err.message)}` : ''
  return `${String(time)} ${String(level).padEnd(5)} ${String(msg)}${cause}${details.length > 0 ? `  ${details.join(' ')}` : ''}\n`
}

/** Logs to stderr, synchronously: what was said before a crash is there. No secret gets through. */
export const createLogger = (level: LogLevel, format: 'text' | 'json'): Logger =>
  pino(
    {
      level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
    },
    { write: (line: string) => void process.stderr.write(redact(format === 'text' ? textLine(line) : line)) },
  )
