import { expect } from 'bun:test'
import type { RawClient } from '../support/raw.ts'

/**
 * Asserts that an answer is one the gate made itself (RFC 9457), whole and leading nowhere, and gives its body.
 * `slug` is the end of its `type`; none means any.
 */
export const expectProblem = (client: RawClient, status: number, slug?: string): Record<string, unknown> => {
  expect([client.status, client.text]).toEqual([status, expect.any(String)])
  expect(client.head?.get('content-type')).toStartWith('application/problem+json')
  expect(client.head?.get('location')).toBeNull()
  expect(client.complete).toBeTrue()
  const body = client.json as Record<string, unknown>
  expect(body['status']).toBe(status)
  expect(body['title']).toBeString()
  expect(body['type']).toMatch(slug ? new RegExp(`(^|[/:#])${slug}$`) : /[a-z-]+$/)
  const requestIds = Object.entries(body).filter(([key]) => /^(request_?id|instance)$/i.test(key))
  expect(requestIds).toEqual([[expect.any(String), expect.stringMatching(/.{6,}/)]])
  return body
}
