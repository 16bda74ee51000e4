import { type Check, scenariosOf, type Status, type Suite } from './suite.ts'

type Outcome = Status | 'missing'
export type Difference = {
  check: string
  direct: Outcome
  through: Outcome
  message: string
  worse: boolean
}

/** By scenario, id and occurrence: a suite may make the same check more than once. */
const byKey = (checks: Check[]): Map<string, Check> => {
  const seen = new Map<string, number>()
  return new Map(
    checks.map((check) => {
      const key = `${check.scenario} ${check.id}`
      const nth = (seen.get(key) ?? 0) + 1
      seen.set(key, nth)
      return [nth === 1 ? key : `${key} #${nth}`, check]
    }),
  )
}

/**
 * Check by check, since totals mean nothing: a dead port "passes" dozens. Whatever differs is worse, but a success
 * that was none directly, and a failure that is gone.
 */
export const compare = (directly: Check[], throughGate: Check[]): Difference[] => {
  const [before, after] = [byKey(directly), byKey(throughGate)]
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((check) => {
      const direct: Outcome = before.get(check)?.status ?? 'missing'
      const through: Outcome = after.get(check)?.status ?? 'missing'
      const message = after.get(check)?.message ?? ''
      return { check, direct, through, message, worse: through !== 'SUCCESS' && direct !== 'FAILURE' }
    })
    .filter((difference) => difference.direct !== difference.through)
}

/** Why a direct run is no measure: scenarios that did not run, checks that our upstream should pass. */
export const shortcomings = (suite: Suite, direct: Check[]): string[] => {
  const wrong: string[] = []
  const scenarios = scenariosOf(direct).size
  if (scenarios !== suite.scenarios) wrong.push(`${scenarios} scenarios ran, not ${suite.scenarios}`)
  const successes = direct.filter(({ status }) => status === 'SUCCESS').length
  if (successes < suite.successes) wrong.push(`${successes} checks passed directly, not ${suite.successes}`)
  for (const { scenario, id, status, message } of direct) {
    if (status === 'SUCCESS' || status === 'INFO' || `${scenario} ${id}` in suite.excused) continue
    wrong.push(`${scenario} ${id} is ${status} directly: ${message}`)
  }
  return wrong
}
