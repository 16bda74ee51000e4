/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { CopyButton } from './copy.tsx'

/** Where the text goes. */
const Place = ({ kind, file }: Snippet) => {
  if (kind === 'command') return <p>Type this in a shell.</p>
  if (file === null) return <p>Use this in a program.</p>
  return (
    <p>
      Put this in <code>{file}</code>
    </p>
  )
}

const SnippetPanel = ({ id, snippet }: { id: string; snippet: Snippet }) => (
  <section class="snippet" aria-label={snippet.title}>
    <div class="heading">
      <Place {...snippet} />
      <CopyButton of={`snippet-${id}`} what={`what goes into ${snippet.title}`} />
    </div>
    <pre>
      <code id={`snippet-${id}`}>{snippet.text}</code>
    </pre>
    {snippet.note !== null && <p class="hint">{snippet.note}</p>}
    {snippet.links.length > 0 && (
      <p class="links">
        {snippet.links.map(({ server, url }) => (
          <a class="button" href={url}>
            Add {server} to {snippet.title}
          </a>
        ))}
      </p>
    )}
  </section>
)

/** One client at a time: radio buttons, which need no script and take the arrow keys. */
export const Snippets = ({ snippets }: { snippets: Record<string, Snippet> }) => (
  <div class="clients" role="radiogroup" aria-label="Client">
    {Object.entries(snippets).map(([id, snippet], index) => (
      <>
        <input class="unseen" type="radio" name="client" id={`client-${id}`} checked={index === 0} />
        <label for={`client-${id}`}>{snippet.title}</label>
        <SnippetPanel id={id} snippet={snippet} />
      </>
    ))}
  </div>
)
