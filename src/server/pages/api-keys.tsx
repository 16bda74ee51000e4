/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { ApiKey } from '../../apikey.ts'
import { AppError, invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { holdsSecret } from '../../secret.ts'
import { parseExpiry } from '../../time.ts'
import {
  type ApiKeyCard,
  ApiKeyFormPage,
  ApiKeyIssuedBeforePage,
  ApiKeyIssuedPage,
  ApiKeyRemovalPage,
  type ApiKeyTyped,
} from '../../views/api-keys.tsx'
import { apiKeyCards } from './access.tsx'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, page, seeOther } from './page.ts'
import { ownerOf } from './person.ts'

const roleOf = (text: string): ApiKey['role'] => {
  if (text !== 'operator' && text !== 'auditor') throw invalid('the role is one of: operator, auditor')
  return text
}

const TEXTS = ['name', 'role', 'expires'] as const
const typedOf = (fields: URLSearchParams): ApiKeyTyped => {
  const [name = '', role = '', expires = ''] = TEXTS.map((text) => fields.get(text) ?? '')
  return { name, role, expires }
}

/** As it may be shown again: a page that holds a secret is none of those that may. */
const withoutSecrets = ({ name, role, expires }: ApiKeyTyped): ApiKeyTyped => ({
  name: holdsSecret(name) ? '' : name,
  role,
  expires: holdsSecret(expires) ? '' : expires,
})

/** What programs show: made and removed. */
export const apiKeyRoutes = (node: Node) => {
  const { apiKeys } = node

  const cardOf = (id: string): ApiKeyCard => {
    const card = apiKeyCards(node).find((key) => key.id === id)
    if (!card) throw notFound('no API key has that id; it may be removed')
    return card
  }

  const form = (request: Request, typed: ApiKeyTyped, refused: AppError | null) => {
    const isExpiry = refused?.message.startsWith('expires: ') ?? false
    const focus = isExpiry ? 'expires' : 'name'
    const message = refused?.message.replace(/^expires: /, '') ?? ''
    const { status, sentence } = refused
      ? sentenceOf(new AppError(refused.kind, message))
      : { status: 200, sentence: undefined }
    const filled = {
      typed: withoutSecrets(typed),
      failures: sentence === undefined ? {} : { [focus]: sentence },
      focus,
    }
    return page(<ApiKeyFormPage frame={frameOf(node, request)} formId={crypto.randomUUID()} filled={filled} />, status)
  }

  return new Elysia({ name: 'api-keys' })
    .get('/access/keys/new', ({ request }) => {
      ownerOf(request)
      return form(request, { name: '', role: 'operator', expires: '90d' }, null)
    })
    .post(
      '/access/keys/new',
      async ({ request }) => {
        const actor = ownerOf(request)
        const fields = await formOf(request)
        const frame = frameOf(node, request)
        const made = madeBefore(node, actor, fields)
        if (made !== null) {
          const name = apiKeys.list().find(({ id }) => id === made)?.name ?? null
          return page(<ApiKeyIssuedBeforePage {...{ frame, name }} />)
        }
        const typed = typedOf(fields)
        const role = roleOf(typed.role)
        try {
          const expiresAt = typed.expires.trim() === '' ? null : parseExpiry(typed.expires, node.now(), 'expires')
          const { key, secret } = apiKeys.create(typed.name, role, expiresAt, actor)
          keepMade(node, actor, fields, key.id, '/access')
          const { consoleUrl } = node
          return page(<ApiKeyIssuedPage {...{ frame, secret, consoleUrl }} apiKey={cardOf(key.id)} />, 201)
        } catch (error) {
          if (!(error instanceof AppError)) throw error
          return form(request, typed, error)
        }
      },
      FORM,
    )
    .get('/access/keys/:id/removal', ({ request, params }) => {
      ownerOf(request)
      return page(<ApiKeyRemovalPage frame={frameOf(node, request)} apiKey={cardOf(params.id)} />)
    })
    .post(
      '/access/keys/:id/removal',
      ({ request, params }) => {
        const actor = ownerOf(request)
        const { id } = cardOf(params.id)
        apiKeys.remove(id, actor)
        return seeOther(`/access?gone=${id}`)
      },
      FORM,
    )
}
