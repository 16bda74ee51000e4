/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError, invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { type Reason, REASONS, type Receipt } from '../../revocation-record.ts'
import { holdsSecret } from '../../secret.ts'
import { DeadAlreadyPage, ReceiptPage } from '../../views/receipt.tsx'
import { type RevocationFailures, RevocationFormPage, type RevocationTyped } from '../../views/revocation-form.tsx'
import { NothingToRevokePage, type ReasonTyped, RevocationPage } from '../../views/revocation.tsx'
import { RevocationsPage } from '../../views/revocations.tsx'
import { tokensPath } from '../../views/token-filter.tsx'
import { pageOf } from '../api/page.ts'
import { clusterAt } from './alarms.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { frameOf, isScript, page, seeOther } from './page.ts'
import { personOf } from './person.ts'
import { receiptCard, rowOf } from './receipt.ts'
import { askedOf, doomedOf, failuresOf, fieldsOf, offeredBy, type Wanted } from './revocation-form.ts'
import { mayAct } from './rights.ts'

const SELECTORS = ['token', 'subject', 'group', 'server', 'issuedBefore', 'all']

const reasonOf = (fields: URLSearchParams): Reason => {
  const reason = REASONS.find((candidate) => candidate === fields.get('reason'))
  if (!reason) throw invalid(`the reason is one of: ${REASONS.join(', ')}`)
  return reason
}

/** Where the same tokens are listed; those that were chosen by their age or one by one have no list there. */
const allHrefOf = ({ tokens, subject, group, server, issuedBefore }: Wanted): string | null =>
  tokens || issuedBefore != null
    ? null
    : tokensPath({ subject: subject ?? '', group: group ?? '', server: server ?? '' })

/** Where "Cancel" leads without a dialog: to the one token, or to the form as it was filled in. */
const backOf = (wanted: Wanted): string => {
  const { tokens, ...selectors } = wanted
  if (tokens) return tokens.length === 1 ? `/tokens/${tokens[0]}` : '/tokens'
  return wanted.all
    ? '/revocations/new'
    : `/revocations/new?${new URLSearchParams([['edit', 'yes'], ...fieldsOf(selectors)])}`
}

type Refused = { typed: RevocationTyped; failures: RevocationFailures; failure: string | null; status: number }

export const revocationRoutes = (node: Node) => {
  const form = async (request: Request, { typed, failures, failure, status }: Refused) =>
    page(
      <RevocationFormPage
        frame={frameOf(node, request)}
        isPart={isScript(request)}
        {...{ typed, failures, failure }}
        {...await offeredBy(node)}
      />,
      status,
    )

  /** The question; or, where nothing is left to ask, why. */
  const question = async (
    request: Request,
    wanted: Wanted,
    actor: Actor,
    typed: ReasonTyped = { reason: 'compromised', note: '' },
    failure: string | null = null,
  ) => {
    const frame = frameOf(node, request)
    const doomed = await doomedOf(node, wanted, actor)
    const back = backOf(wanted)
    if (doomed.tokens === 0) return page(<NothingToRevokePage {...{ frame, doomed, back }} />)
    return page(
      <RevocationPage
        {...{ frame, doomed, typed, failure, back }}
        fields={fieldsOf(wanted)}
        allHref={allHrefOf(wanted)}
        noteLengthMax={node.limits.textLengthMax}
      />,
      failure === null ? 200 : 400,
    )
  }

  const receiptPage = async (request: Request, receipt: Receipt, status: number) => {
    const frame = frameOf(node, request)
    // The answer to a form is found at another address: there it finds itself fresh.
    const path = request.method === 'GET' ? frame.path : `/revocations/${receipt.id}`
    const after = new URL(path, 'http://x').searchParams.get('after')
    const card = await receiptCard(node, request, receipt, after)
    return page(<ReceiptPage frame={{ ...frame, path }} receipt={card} />, status)
  }

  return new Elysia({ name: 'revocations' })
    .get('/revocations', ({ request }) => {
      const { actor } = personOf(request)
      const { rowsShownMax } = node.limits
      const after = new URL(request.url).searchParams.get('after')
      const open = new Set(clusterAt(node, request)?.open.items.map(({ id }) => id))
      const { items, next } = pageOf(
        node.reads.receipts(rowsShownMax + 1, after),
        rowsShownMax,
        ({ id }) => id,
        (receipt) => rowOf(node, receipt, open),
      )
      return page(<RevocationsPage frame={frameOf(node, request)} rows={items} next={next} mayAct={mayAct(actor)} />)
    })
    .get('/revocations/new', async ({ request }) => {
      const { actor } = personOf(request)
      requireRole(actor, 'operator', true)
      const fields = new URL(request.url).searchParams
      const { wanted, typed, failures } = askedOf(node, fields)
      const isWrong = Object.keys(failures).length > 0
      if (isWrong || fields.has('edit') || Object.keys(wanted).length === 0)
        return form(request, { typed, failures, failure: null, status: isWrong ? 400 : 200 })
      try {
        return await question(request, wanted, actor)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        const beside = failuresOf(error)
        const { status, sentence } = sentenceOf(error)
        return form(request, { typed, failures: beside ?? {}, failure: beside ? null : sentence, status })
      }
    })
    .post(
      '/revocations',
      async ({ request }) => {
        const { actor, arrivedAt } = personOf(request)
        requireRole(actor, 'operator', true)
        const fields = await formOf(request)
        const { wanted, failures } = askedOf(node, fields)
        // A field that can't be read, or is empty, must not be passed over: more would die than was meant.
        const isWhole = SELECTORS.every((name) => fields.get(name)?.trim() !== '')
        if (!isWhole || Object.keys(failures).length > 0 || Object.keys(wanted).length === 0)
          throw invalid('name what to revoke')
        const [reason, note] = [reasonOf(fields), fields.get('note') ?? '']
        let receipt: Receipt
        try {
          receipt = await node.revocations.revoke({ ...wanted, reason, note }, actor, arrivedAt)
        } catch (error) {
          if (!(error instanceof AppError) || error.kind !== 'invalid') throw error
          const typed = { reason, note: holdsSecret(note) ? '' : note }
          return question(request, wanted, actor, typed, sentenceOf(error).sentence)
        }
        // In a cluster it may name tokens that are not known here yet, and is recorded though it killed none.
        if (receipt.tokens.length === 0 && node.reads.receipt(receipt.id) === null)
          return page(<DeadAlreadyPage frame={frameOf(node, request)} />)
        await node.cluster.settled(receipt.id, node.limits.ackWaitMs)
        if (receipt.durable) return seeOther(`/revocations/${receipt.id}`)
        return receiptPage(request, receipt, 507)
      },
      FORM,
    )
    .get('/revocations/:id', ({ request, params }) => {
      personOf(request)
      const receipt = node.reads.receipt(params.id)
      if (!receipt) throw notFound('no revocation has that id')
      return receiptPage(request, receipt, 200)
    })
}
