/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'
import { count } from './words.ts'

type FailureProps = { frame: Frame; title: string; message: string; back: { href: string; text: string } }

export const FailurePage = ({ frame, title, message, back }: FailureProps) => (
  <Layout title={title} frame={frame} narrow>
    <h1 id="title">{title}</h1>
    <p role="alert">{message}</p>
    <p>
      <a href={back.href} data-close>
        {back.text}
      </a>
    </p>
  </Layout>
)

interface FormFailureProps {
  /** What did not happen, as a sentence. */
  what: string
  failure: string | null
  failures: Record<string, string | undefined>
  /** What else has to be done. */
  hint?: string | null | false
}

/** Why nothing came of a form: its own reason, or that fields have theirs beside them. */
export const FormFailure = ({ what, failure, failures, hint }: FormFailureProps) => {
  const wrong = Object.keys(failures).length
  const why = failure ?? (wrong > 0 ? `${count(wrong, 'field')} below must be put right.` : null)
  return <Failure text={why && [what, why, hint].filter(Boolean).join(' ')} />
}

/** Why what was sent was not done; null: nothing of the kind. */
export const Failure = ({ text }: { text: string | null }) =>
  text === null ? null : (
    <p class="failure" role="alert">
      {text}
    </p>
  )
