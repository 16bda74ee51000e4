import { expect } from 'bun:test'
import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Answer } from '../support/node.ts'

/** Asserts that a document is as its schema says, and holds nothing else. */
export const expectShape = (schema: TSchema, json: unknown): void => {
  const wrong = [...Value.Errors(schema, json)].map(({ path, message }) => `${path}: ${message}`)
  expect(wrong).toEqual([])
  expect(json).toEqual(Value.Clean(schema, structuredClone(json)))
}

export type ProblemJson = { type: string; title: string; status: number; detail: string }

/** Asserts that an answer is a problem document (RFC 9457), and gives it. */
export const expectProblem = (
  { status, headers, json }: Answer<unknown>,
  expected: number,
  slug?: string,
): ProblemJson => {
  if (status !== expected) throw new Error(`answered ${status}, not ${expected}: ${JSON.stringify(json)}`)
  expect(headers.get('content-type')).toStartWith('application/problem+json')
  const problem = json as ProblemJson
  // A copy: Bun's toMatchObject puts its matchers into what it was given.
  expect(structuredClone(problem)).toMatchObject({
    status: expected,
    title: expect.any(String),
    detail: expect.stringMatching(/\w{3}/),
  })
  expect(problem.type).toMatch(slug === undefined ? /[:/][a-z-]+$/ : new RegExp(`[:/]${slug}$`))
  return problem
}
