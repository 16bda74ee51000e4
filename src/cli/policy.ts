import { type Command, InvalidArgumentError } from 'commander'
import type { PolicyJson, TokenJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { usage } from './exit.ts'
import { listed } from './listed.ts'
import { whole } from './whole.ts'

export interface PolicyOptions {
  allowTool?: string[]
  denyTool?: string[]
  readOnly?: boolean
  callsPerMinute?: number
  streams?: number
}

/** An empty list is a slip, such as a variable that is not set: as a policy it would forbid all, or allow all. */
const patterns = (value: string, previous?: string[]): string[] => {
  const all = listed(value, previous)
  if (all.length === 0) throw new InvalidArgumentError('It must name a tool.')
  return all
}

/** The flags of a policy, on `token create` and `token policy` alike. */
export const policyOptions = (command: Command): Command =>
  command
    .option('--allow-tool <P[,P]>', 'only tools of these names; * stands for any characters, ? for one', patterns)
    .option('--deny-tool <P[,P]>', 'no tools of these names, whatever is allowed', patterns)
    .option('--read-only', 'only tools that their server annotates with readOnlyHint')
    .option('--calls-per-minute <N>', 'calls in any 60 seconds; above that 429', whole)
    .option('--streams <N>', 'event streams held open at once; above that 429', whole)

/** The policy that the flags ask for, or undefined when there is none of them. */
export const policyFrom = (options: PolicyOptions): Partial<PolicyJson> | undefined => {
  const { allowTool, denyTool, readOnly, callsPerMinute, streams } = options
  const policy = {
    ...(allowTool && { allow: allowTool }),
    ...(denyTool && { deny: denyTool }),
    ...(readOnly && { readOnly }),
    ...(callsPerMinute !== undefined && { callsPerMinute }),
    ...(streams !== undefined && { concurrentStreams: streams }),
  }
  return Object.keys(policy).length > 0 ? policy : undefined
}

export const policyText = (policy: PolicyJson | null): string | null =>
  policy &&
  [
    ...(policy.allow ? [`only ${policy.allow.join(', ') || 'no tool at all'}`] : []),
    ...(policy.deny.length > 0 ? [`not ${policy.deny.join(', ')}`] : []),
    ...(policy.readOnly ? ['read-only tools'] : []),
    ...(policy.callsPerMinute === null ? [] : [`${policy.callsPerMinute} calls a minute`]),
    ...(policy.concurrentStreams === null ? [] : [`${policy.concurrentStreams} streams at once`]),
  ].join('; ')

export const tokenPolicyCommand = (token: Command, cli: Cli): void => {
  policyOptions(
    token
      .command('policy')
      .description('show what a token may do, or set it anew; its live connections are cut then')
      .argument('<ID>', 'its id or name'),
  )
    .option('--none', 'no policy: everything that its servers offer')
    .action(async (id: string, { none, ...options }: PolicyOptions & { none?: boolean }) => {
      const policy = policyFrom(options)
      if (none && policy) throw usage('--none goes with no other flag')
      const path = `/tokens/${segment(id)}`
      const client = cli.client()
      const changed = none || policy !== undefined
      const shown = changed
        ? await client.put<TokenJson>(`${path}/policy`, policy ?? {})
        : await client.get<TokenJson>(path)
      await cli.print(shown, () => `${shown.name} (${shown.id}): ${policyText(shown.policy) ?? 'no policy'}`)
    })
}
