import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { limits } from '../../src/limits.ts'
import { asksForHint, matches, type Policy, policyOf, type PolicyRequest, toolDenial } from '../../src/policy.ts'
import { Quotas } from '../../src/quota.ts'

const policy = (request: PolicyRequest): Policy => {
  const made = policyOf(request)
  if (made === null) throw new Error('it restricts nothing')
  return made
}

describe('patterns', () => {
  // Few letters, so that random texts match often.
  const pattern = fc.array(fc.constantFrom('a', 'b', '.', '*', '?'), { maxLength: 8 }).map((all) => all.join(''))
  const text = fc.array(fc.constantFrom('a', 'b', '.', '\n', 'é'), { maxLength: 8 }).map((all) => all.join(''))
  const asRegExp = (given: string) =>
    new RegExp(`^${given.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`, 's')

  test('a pattern matches what the regular expression that it stands for matches', () => {
    let matched = 0
    fc.assert(
      fc.property(pattern, text, (given, name) => {
        const expected = asRegExp(given).test(name)
        if (expected) matched += 1
        return matches(given, name) === expected
      }),
      { numRuns: 20_000 },
    )
    expect(matched).toBeGreaterThan(1_000)
  })

  test.each([
    ['get_*', 'get_', true],
    ['get_*', 'get', false],
    ['*', '', true],
    ['**', 'x', true],
    ['?', '', false],
    ['*.read', 'files.read', true],
    ['*.read', 'files.read.all', false],
    ['[a-z]', 'a', false],
    ['a|b', 'a', false],
    ['\\*', 'x', false],
  ])('%j and %j: %p', (given, name, expected) => {
    expect(matches(given, name)).toBe(expected)
  })

  test('a hostile pattern takes length × length steps, not 2 ^ length', () => {
    const given = '*a'.repeat(limits.toolNameLengthMax / 2 - 1) + '*b'
    // A regular expression made of it does not come back.
    expect(matches(given, 'a'.repeat(limits.toolNameLengthMax))).toBe(false)
  })
})

describe('which tools', () => {
  const rows: [PolicyRequest, string, boolean, ReturnType<typeof toolDenial>][] = [
    [{ allow: ['get_*'] }, 'get_me', false, null],
    [{ allow: ['get_*'] }, 'set_me', false, 'tool_denied'],
    [{ allow: ['get_*'] }, 'GET_me', false, 'tool_denied'],
    [{ allow: [] }, 'get_me', true, 'tool_denied'],
    [{ allow: ['*'], deny: ['*_me'] }, 'get_me', true, 'tool_denied'],
    [{ allow: ['*'], deny: ['*_me'] }, 'get_you', true, null],
    [{ readOnly: true }, 'get_me', true, null],
    [{ readOnly: true }, 'get_me', false, 'tool_not_read_only'],
    [{ readOnly: true, deny: ['get_me'] }, 'get_me', true, 'tool_denied'],
    [{ deny: ['x'] }, 'a'.repeat(limits.toolNameLengthMax), false, null],
    [{ deny: ['x'] }, 'a'.repeat(limits.toolNameLengthMax + 1), false, 'tool_denied'],
    [{ deny: ['größe'] }, 'GRÖSSE', false, 'tool_denied'],
    [{ deny: ['a?'] }, 'aß', false, 'tool_denied'],
  ]
  test.each(rows)('%j, %j, read-only %p: %p', (request, tool, readOnly, expected) => {
    expect(toolDenial(policy(request), tool, readOnly)).toBe(expected)
  })

  test.each([
    'Delete_Repo',
    'DELETE_REPO',
    ' delete_repo',
    'delete_repo ',
    'delete_repo\n',
    'delete_repo\0',
    'delete_repo\0x',
    'delete\u200b_repo',
    'delete\u00ad_repo',
    '\ufeffdelete_repo',
    'delete_repo\ud800',
    'ｄelete_repo',
    'delete＿repo',
    'deleｔe_repo',
    'delete_repo\u202e',
  ])('what a lenient server may take for a denied tool is denied: %j', (tool) => {
    expect(toolDenial(policy({ deny: ['delete_repo'] }), tool, true)).toBe('tool_denied')
    expect(toolDenial(policy({ deny: ['delete_repo'] }), 'delete_repo2', true)).toBeNull()
  })

  test('a server is asked only about what the lists leave open', () => {
    const readOnly = policy({ allow: ['get_*'], readOnly: true })
    expect([asksForHint(readOnly, 'get_me'), asksForHint(readOnly, 'set_me')]).toEqual([true, false])
    expect(asksForHint(policy({ allow: ['get_*'] }), 'get_me')).toBe(false)
  })
})

describe('what is asked for', () => {
  test.each([null, undefined, {}, { allow: null }, { deny: [], readOnly: false, callsPerMinute: null }])(
    '%j restricts nothing',
    (request) => {
      expect(policyOf(request)).toBeNull()
    },
  )

  test('patterns are trimmed, and kept once', () => {
    expect(policy({ allow: [' a ', 'a', 'B'] }).allow).toEqual(['a', 'B'])
  })

  const many = (count: number) => Array.from({ length: count }, (_, index) => `tool_${index}`)
  const longest = 'a'.repeat(limits.toolNameLengthMax)
  test.each([
    [{ deny: many(limits.toolPatternsMax) }, null],
    [{ deny: many(limits.toolPatternsMax + 1) }, 'deny: more than'],
    [{ allow: many(limits.toolPatternsMax + 1) }, 'allow: more than'],
    [{ allow: [longest] }, null],
    [{ allow: [`${longest}a`] }, 'longer than'],
    [{ allow: [' '] }, 'a pattern of allow is empty'],
    [{ deny: ['a\nb'] }, 'control character'],
    [{ callsPerMinute: 1 }, null],
    [{ callsPerMinute: limits.callsPerMinuteMax }, null],
    [{ callsPerMinute: limits.callsPerMinuteMax + 1 }, 'callsPerMinute: write a whole number from 1'],
    [{ callsPerMinute: 0 }, 'callsPerMinute'],
    [{ callsPerMinute: 1.5 }, 'callsPerMinute'],
    [{ concurrentStreams: limits.connectionsPerTokenMax }, null],
    [{ concurrentStreams: limits.connectionsPerTokenMax + 1 }, 'concurrentStreams'],
    [{ concurrentStreams: -1 }, 'concurrentStreams'],
  ] as [PolicyRequest, string | null][])('%j: %p', (request, error) => {
    if (error === null) expect(policyOf(request)).not.toBeNull()
    else expect(() => policyOf(request)).toThrow(error)
  })
})

describe('calls a minute', () => {
  const WINDOW_MS = 60_000
  type Taken = { at: number; count: number }
  const steps = fc.array(
    fc.record({
      afterMs: fc.oneof(fc.nat(10), fc.nat(20_000), fc.nat(70_000), fc.constantFrom(WINDOW_MS - 1, WINDOW_MS)),
      count: fc.integer({ min: 1, max: 6 }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  const inWindow = (taken: Taken[], from: number) =>
    taken.filter(({ at }) => at >= from && at < from + WINDOW_MS).reduce((sum, { count }) => sum + count, 0)

  test('never more than the limit in any 60 seconds, and never fewer than it allows', () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 8 }), (all, max) => {
        let now = 1_000
        const quotas = new Quotas(() => now)
        const taken: Taken[] = []
        for (const { afterMs, count } of all) {
          now += afterMs
          const recent = inWindow(taken, now - WINDOW_MS + 1)
          const retryAfterS = quotas.takeCalls('tok', count, max)
          if (retryAfterS === null) taken.push({ at: now, count })
          if ((retryAfterS === null) !== recent + count <= max) return false
        }
        return taken.every(({ at }) => inWindow(taken, at) <= max)
      }),
    )
  })

  test('Retry-After is when they fit, and no earlier second would do', () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 6, max: 8 }), (all, max) => {
        let now = 1_000
        const quotas = new Quotas(() => now)
        for (const { afterMs, count } of all) {
          now += afterMs
          const asked = now
          const retryAfterS = quotas.takeCalls('tok', count, max)
          if (retryAfterS === null) continue
          now = asked + (retryAfterS - 1) * 1_000
          if (retryAfterS > 1 && quotas.takeCalls('tok', count, max) === null) return false
          now = asked + retryAfterS * 1_000
          if (quotas.takeCalls('tok', count, max) !== null) return false
        }
        return true
      }),
    )
  })

  test('tokens do not share; more at once than the limit never fit; none are taken of those', () => {
    const quotas = new Quotas(() => 0)
    expect(quotas.takeCalls('a', 4, 3)).toBe(60)
    expect(quotas.takeCalls('a', 3, 3)).toBeNull()
    expect(quotas.takeCalls('a', 1, 3)).toBe(60)
    expect(quotas.takeCalls('b', 3, 3)).toBeNull()
  })
})

test('streams: as many places as the limit, each given back once', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 50 }), fc.integer({ min: 1, max: 4 }), (all, max) => {
      const quotas = new Quotas(() => 0)
      let open = 0
      for (const takes of all) {
        if (takes) {
          if (quotas.takeStream('tok', max) !== open < max) return false
          open = Math.min(open + 1, max)
        } else if (open > 0) {
          quotas.giveStream('tok')
          open -= 1
        }
      }
      return true
    }),
  )
})
