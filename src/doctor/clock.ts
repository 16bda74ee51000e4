import { type Finding, finding } from '../finding.ts'
import { formatTime } from '../time.ts'
import { answerOf } from './command.ts'
import type { Subject } from './subject.ts'
import { asRoot } from './user.ts'

const UNITS: [ms: number, name: string][] = [
  [86_400_000, 'days'],
  [3_600_000, 'hours'],
  [60_000, 'minutes'],
]

const roughly = (ms: number): string => {
  const [unitMs, name] = UNITS.find(([unit]) => ms >= 2 * unit) ?? [1_000, 'seconds']
  return `${Math.floor(ms / unitMs)} ${name}`
}

/** Whether the clock can be right: expiry follows it. Asks nobody on the network. */
export const clock = async ({ deps, records }: Subject): Promise<Finding[]> => {
  const { limits } = deps
  const now = deps.now()
  const text = formatTime(now)
  const set = `set the clock: ${asRoot('timedatectl set-ntp true')}`
  const year = new Date(now).getUTCFullYear()
  if (year < 2026 || year > 2100) return [finding('clock', 'fail', `it says ${text}`, set)]
  const ahead = records.kind === 'known' && records.newestAt !== null ? records.newestAt - now : 0
  if (ahead > limits.clockAheadMs) {
    const back = `it says ${text}, and the newest row of the audit log is ${roughly(ahead)} later: it was set back`
    return [finding('clock', 'warn', back, `${set}; until it is right, tokens expire later than they should`)]
  }
  const synchronised = await answerOf(['timedatectl', 'show', '-p', 'NTPSynchronized'], limits.doctorAnswerMs)
  if (synchronised?.trim() === 'NTPSynchronized=no')
    return [finding('clock', 'warn', `it says ${text}, and nothing keeps it right`, asRoot('timedatectl set-ntp true'))]
  return [finding('clock', 'ok', text)]
}
