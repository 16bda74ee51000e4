/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { tokensPath } from '../../views/token-filter.tsx'
import { type TokenFailures, TokenFormPage, type TokenTyped } from '../../views/token-form.tsx'
import { TokenIssuedBeforePage, TokenIssuedPage } from '../../views/token-issued.tsx'
import { TokensPage } from '../../views/tokens.tsx'
import { tokenJson } from '../api/present.ts'
import { sentenceOf } from './failure.tsx'
import { filterAnswer, isPasted, serverNamesOf, withoutPasted } from './filter.ts'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, isTainted, page, seeOther } from './page.ts'
import { personOf } from './person.ts'
import { mayAct, mayChange } from './rights.ts'
import { EMPTY, failuresOf, requestOf, typedOf, withoutSecrets } from './token-form.ts'
import { snippetsOf } from './token.tsx'
import { tokenListOf, tokenQueryOf } from './token-list.ts'

type Refused = { typed: TokenTyped; failures: TokenFailures; failure: string | null; status: number }

/** Tokens: found, and made. */
export const tokensRoutes = (node: Node) => {
  const { nameLengthMax } = node.limits

  const list = async (request: Request, actor: Actor, path: string): Promise<Response> => {
    const fields = new URL(path, request.url).searchParams
    const query = tokenQueryOf(fields, nameLengthMax)
    return page(
      <TokensPage
        frame={{ ...frameOf(node, request), path }}
        list={await tokenListOf(node, query, fields.get('after'))}
        serverNames={serverNamesOf(node)}
        hasServers={node.servers.byName.size > 0}
        mayAct={mayAct(actor)}
        mayIssue={mayChange(actor)}
        now={node.now()}
        filterLengthMax={nameLengthMax}
        isPasted={isPasted(fields)}
        query={query}
      />,
    )
  }

  /** Where the list of a filter is; never with a secret in it. */
  const pathOf = (fields: URLSearchParams): string => tokensPath(tokenQueryOf(fields, nameLengthMax))

  const form = (request: Request, { typed, failures, failure, status }: Refused) =>
    page(
      <TokenFormPage
        frame={frameOf(node, request)}
        formId={crypto.randomUUID()}
        servers={node.servers.sorted()}
        typed={withoutSecrets(typed)}
        {...{ failures, failure }}
      />,
      status,
    )

  const issue = async (request: Request, fields: URLSearchParams, actor: Actor): Promise<Response> => {
    const frame = frameOf(node, request)
    const before = node.tokens.get(madeBefore(node, actor, fields) ?? '')
    if (before) return page(<TokenIssuedBeforePage frame={frame} token={before} />)
    const typed = typedOf(fields)
    const { request: wanted, failures } = requestOf(typed, node.now())
    if (Object.keys(failures).length > 0) return form(request, { typed, failures, failure: null, status: 400 })
    try {
      const { token, secret } = node.issuance.issue(wanted, actor)
      keepMade(node, actor, fields, token.id, `/tokens/${token.id}`)
      // Its first request may go to another node, and a client that hears 401 throws the token away.
      await node.cluster.spread(node.limits.ackWaitMs)
      const snippets = snippetsOf(node, token, secret)
      return page(<TokenIssuedPage frame={frame} token={tokenJson(node, token)} {...{ secret, snippets }} />, 201, {
        location: `/tokens/${token.id}`,
      })
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      const { status, sentence } = sentenceOf(error)
      const beside = failuresOf(error)
      return form(request, { typed, failures: beside ?? {}, failure: beside ? null : sentence, status })
    }
  }

  return new Elysia({ name: 'tokens' })
    .get('/tokens', ({ request }) => {
      const { actor } = personOf(request)
      if (isTainted(request)) return seeOther(withoutPasted(pathOf(new URL(request.url).searchParams)))
      return list(request, actor, frameOf(node, request).path)
    })
    .post(
      '/tokens/filter',
      async ({ request }) => {
        const { actor } = personOf(request)
        const fields = await formOf(request)
        return filterAnswer(request, fields, pathOf(fields), (path) => list(request, actor, path))
      },
      FORM,
    )
    .get('/tokens/new', ({ request }) => {
      requireRole(personOf(request).actor, 'operator')
      const names = [...node.servers.byName.keys()]
      // Where there is only one, it is the one that is meant.
      const typed = { ...EMPTY, servers: names.length === 1 ? names : [] }
      return form(request, { typed, failures: {}, failure: null, status: 200 })
    })
    .post(
      '/tokens/new',
      async ({ request }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'operator')
        return issue(request, await formOf(request), actor)
      },
      FORM,
    )
}
