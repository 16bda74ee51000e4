import type { TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'

export const PASSWORD = 'a long enough password'

/** The link that the node printed when it started without an owner; the pipe may bring it a moment after the first answer. */
export const setupLinkOf = (node: TestNode): Promise<string> =>
  eventually(() => /http\S+\/setup\?code=\S+(?=\s)/.exec(node.stdout())?.[0], { what: 'a setup link was printed' })

/** The link of a new operator, by which a password is set. */
export const linkOfNew = async (node: TestNode, name: string, role: string): Promise<string> => {
  const { json } = await node.api<{ link: { url: string } }>('POST', '/operators', { name, role })
  return json.link.url
}

type Fields = string | Record<string, string> | [string, string][]

/** A browser without scripts: forms and cookies, redirects not followed. */
export class Visitor {
  cookie = ''

  constructor(readonly console: string) {}

  async get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    const sent = { cookie: this.cookie, ...headers }
    return this.#keep(await fetch(this.console + path, { redirect: 'manual', headers: sent }))
  }

  async post(path: string, fields: Fields, headers: Record<string, string> = {}): Promise<Response> {
    return this.#keep(
      await fetch(this.console + path, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie: this.cookie, 'sec-fetch-site': 'same-origin', ...headers },
        body: new URLSearchParams(fields),
      }),
    )
  }

  /** Sets a password by a link, which signs in as well. */
  usePasswordLink(link: string, name: string, password = PASSWORD): Promise<Response> {
    const code = new URL(link).searchParams.get('code') ?? ''
    return this.post('/setup', { code, name, password, again: password })
  }

  #keep(response: Response): Response {
    const set = response.headers.get('set-cookie')
    if (set) this.cookie = set.split(';')[0] ?? ''
    return response
  }
}

/** Signed in: the first owner, ada, and an auditor, grace. */
export const peopleOf = async (node: TestNode): Promise<{ owner: Visitor; auditor: Visitor }> => {
  const [owner, auditor] = [new Visitor(node.console), new Visitor(node.console)]
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), '')
  return { owner, auditor }
}
