/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'

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

/** Why what was sent was not done; null: nothing of the kind. */
export const Failure = ({ text }: { text: string | null }) =>
  text === null ? null : (
    <p class="failure" role="alert">
      {text}
    </p>
  )
