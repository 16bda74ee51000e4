/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { ClusterPolicy } from '../cluster-view.ts'
import { Countdown } from './time.tsx'
import { count } from './words.ts'

/** A node that may still let in what was revoked. */
export interface Holdout {
  id: string
  node: string
  /** `lease`: not longer than its lease runs; `unreachable`: until it hears of it; `silent`: linked; `removed`: it may still run. */
  why: 'lease' | 'unreachable' | 'silent' | 'removed'
  /** Until when its lease can run, where that is known. */
  until: string | null
}

const NAMES_MAX = 3

/** `b`, `b and c`, `b, c, d and 2 nodes more`: each name apart, since people gave them. */
export const Names = ({ of }: { of: string[] }) => {
  const shown = of.length > NAMES_MAX + 1 ? of.slice(0, NAMES_MAX) : of
  const more = of.length - shown.length
  const parts: Child[] = shown.map((name) => <bdi class="what">{name}</bdi>)
  if (more > 0) parts.push(`${count(more, 'node')} more`)
  return (
    <>
      {parts.map((part, index) => (
        <>
          {index > 0 && (index === parts.length - 1 ? ' and ' : ', ')}
          {part}
        </>
      ))}
    </>
  )
}

interface ClauseProps {
  why: Holdout['why']
  holdouts: Holdout[]
  what: string
  policy: ClusterPolicy
  now: number
}

const Clause = ({ why, holdouts, what, policy, now }: ClauseProps) => {
  const names = <Names of={holdouts.map(({ node }) => node)} />
  const isOne = holdouts.length === 1
  const they = isOne ? 'it' : 'they'
  const [until = null] = holdouts.map((holdout) => holdout.until).toSorted((a, b) => ((a ?? '') < (b ?? '') ? 1 : -1))
  if (why === 'removed')
    return (
      <>
        {names} {isOne ? 'was' : 'were'} removed, and may let {what} in until {they} {isOne ? 'is' : 'are'} off
      </>
    )
  const remaining = until !== null && (
    <>
      can let {what} in for another <Countdown until={until} now={now} />
    </>
  )
  if (why === 'silent')
    return (
      <>
        {names} {isOne ? 'has' : 'have'} not said yet that {they} {isOne ? 'refuses' : 'refuse'} {what}
        {remaining && <>, and {remaining}</>}
      </>
    )
  if (why === 'lease' && remaining)
    return (
      <>
        {names} can't be reached, and {remaining}
      </>
    )
  return policy === 'serve' ? (
    <>
      {names} can't be reached: under the policy serve {they} {isOne ? 'goes' : 'go'} on, and {isOne ? 'lets' : 'let'}{' '}
      {what} in until {they} {isOne ? 'hears' : 'hear'} of it
    </>
  ) : (
    <>
      {names} can't be reached, and may let {what} in until {they} {isOne ? 'hears' : 'hear'} of it
    </>
  )
}

/** From what ends by itself last to what ends first. */
const ORDER = ['removed', 'unreachable', 'lease', 'silent'] as const

interface HoldoutsProps {
  of: Holdout[]
  /** What they may let in: `the token`, `its tokens`. */
  what: string
  policy: ClusterPolicy
  now: number
}

/** Who may still let it in, and until when: one sentence, without its end. */
export const Holdouts = ({ of, ...props }: HoldoutsProps) => {
  const groups = ORDER.map((why) => ({ why, holdouts: of.filter((holdout) => holdout.why === why) }))
  const clauses = groups.filter(({ holdouts }) => holdouts.length > 0)
  if (clauses.length === 0) return <>all nodes that can be reached have it, and leases of before are running out</>
  return (
    <>
      {clauses.map(({ why, holdouts }, index) => (
        <>
          {index > 0 && '; '}
          <Clause {...props} why={why} holdouts={holdouts} />
        </>
      ))}
    </>
  )
}
