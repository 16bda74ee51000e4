/** @jsxImportSource hono/jsx */
import { createHash } from 'node:crypto'
import { Elysia } from 'elysia'
import { PLACEHOLDER } from '../../connect.ts'
import { AppError, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { parseDuration } from '../../time.ts'
import type { Token } from '../../token.ts'
import { type Window, WINDOWS } from '../../views/token-activity.tsx'
import { type TokenFailures, TokenFormPage, type TokenTyped } from '../../views/token-form.tsx'
import { TokenIssuedBeforePage, TokenIssuedPage } from '../../views/token-issued.tsx'
import { TokenPage } from '../../views/token.tsx'
import { activityJson } from '../api/activity.ts'
import { connectJson, tokenJson } from '../api/present.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { mayAct } from './lists.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'
import { EMPTY, failuresOf, requestOf, typedOf, withoutSecrets } from './token-form.ts'

const tokenOf = (node: Node, id: string): Token => {
  const token = node.tokens.byId.get(id)
  if (!token) throw notFound('no token has that id')
  return token
}

const windowOf = (text: string | null): Window =>
  text !== null && Object.hasOwn(WINDOWS, text) ? (text as Window) : '24h'

/** The key under which it is kept what a form made: the id in it, and all that was typed. */
const keyOf = (fields: URLSearchParams): string =>
  `form ${createHash('sha256').update(fields.toString()).digest('base64')}`

/** Which token this very form made, if it was sent before. */
const madeBefore = (node: Node, actor: Actor, key: string): Token | undefined => {
  const kept = node.answers.find(actor.name, key)
  return kept ? node.tokens.byId.get(kept.response) : undefined
}

const keepMade = (node: Node, actor: Actor, key: string, { id }: Token): void => {
  try {
    node.answers.keep(actor.name, key, { request: key, status: 201, response: id, location: `/tokens/${id}` })
  } catch (error) {
    // The token is made, and this page is the only one that shows its secret.
    node.log.warn({ err: error }, 'what a form made could not be kept: sent again, it makes another token')
  }
}

type Refused = { typed: TokenTyped; failures: TokenFailures; failure: string | null; status: number }

export const tokenRoutes = (node: Node) => {
  const form = (request: Request, { typed, failures, failure, status }: Refused) => {
    return page(
      <TokenFormPage
        frame={frameOf(node, request)}
        formId={crypto.randomUUID()}
        servers={node.servers.sorted()}
        typed={withoutSecrets(typed)}
        {...{ failures, failure }}
      />,
      status,
    )
  }

  const issue = (request: Request, fields: URLSearchParams, actor: Actor): Response => {
    const frame = frameOf(node, request)
    const key = keyOf(fields)
    const before = madeBefore(node, actor, key)
    if (before) return page(<TokenIssuedBeforePage frame={frame} token={before} />)
    const typed = typedOf(fields)
    const { request: wanted, failures } = requestOf(typed, node.now())
    if (Object.keys(failures).length > 0) return form(request, { typed, failures, failure: null, status: 400 })
    try {
      const { token, secret } = node.issuance.issue(wanted, actor)
      keepMade(node, actor, key, token)
      const snippets = connectJson(node, token, secret)
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
    .get('/tokens/:id', async ({ request, params }) => {
      const { actor } = personOf(request)
      const token = tokenOf(node, params.id)
      const window = windowOf(new URL(request.url).searchParams.get('since'))
      const activity = await activityJson(node, token, node.now() - parseDuration(window, 'since'))
      return page(
        <TokenPage
          frame={frameOf(node, request)}
          token={tokenJson(node, token)}
          {...{ activity, window }}
          linesMax={node.limits.activityLinesShownMax}
          snippets={connectJson(node, token, PLACEHOLDER)}
          mayAct={mayAct(actor)}
        />,
      )
    })
}
