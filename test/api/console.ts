import type { Answer, TestNode } from '../support/node.ts'

/** The API over TCP, as a stranger or with an API key. */
export const consoleApi =
  (node: TestNode, key: string | null = null) =>
  async <T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const response = await fetch(`${node.console}/api/v1${path}`, {
      method,
      headers: {
        ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, json: (text ? JSON.parse(text) : null) as T }
  }

/** A new API key's secret, made through the control socket. */
export const makeKey = async (node: TestNode, name: string, role: 'operator' | 'auditor', extra: object = {}) => {
  const { status, json } = await node.api<{ id: string; key: string }>('POST', '/apikeys', { name, role, ...extra })
  if (status !== 201) throw new Error(`no key: ${JSON.stringify(json)}`)
  return json
}
