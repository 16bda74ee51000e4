import type { TestNode } from '../support/node.ts'

type Fields = Record<string, string>

/** Posts a form as a page of the console does. */
export const postForm = (node: TestNode, path: string, fields: Fields, headers: Fields = {}) =>
  fetch(node.console + path, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams(fields),
    headers: { 'Sec-Fetch-Site': 'same-origin', ...headers },
  })

export const cookieOf = (response: Response): string | null => {
  const [pair = ''] = (response.headers.get('set-cookie') ?? '').split(';')
  return /=./.test(pair) ? pair : null
}

const codeOf = (url: string) => new URL(url).searchParams.get('code') ?? ''
const entered = async (response: Response): Promise<string> => {
  const cookie = cookieOf(response)
  if (!cookie)
    throw new Error(`answered ${response.status} without a session: ${(await response.text()).slice(0, 500)}`)
  return cookie
}

/** Makes the first owner by a set-up link. Gives the cookie of its session. */
export const setUp = async (node: TestNode, name: string, password: string): Promise<string> => {
  const { json } = await node.api<{ url: string }>('POST', '/setup-links')
  return entered(await postForm(node, '/setup', { code: codeOf(json.url), name, password, again: password }))
}

/** Makes an operator, and sets the password by its link. Gives the cookie of its session. */
export const makeOperator = async (node: TestNode, name: string, role: string, password: string): Promise<string> => {
  const { json } = await node.api<{ link: { url: string } }>('POST', '/operators', { name, role })
  return entered(await postForm(node, '/setup', { code: codeOf(json.link.url), password, again: password }))
}

export const signIn = async (node: TestNode, name: string, password: string): Promise<string> =>
  entered(await postForm(node, '/sign-in', { name, password }))
