/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { Choices } from './choices.tsx'
import { Crumb } from './crumb.tsx'
import { Field, type Filled } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { serverHref } from './server-cells.tsx'

/** Where each kind of server is added. */
const ADDITIONS = { url: '/servers/new', command: '/servers/new/command' } as const

/** A command is for whoever may run programs on the node's machine; others are not asked. */
const WhatToAdd = ({ is }: { is: keyof typeof ADDITIONS }) => (
  <nav class="links" aria-label="What to add">
    <a class="button" href={ADDITIONS.url} aria-current={is === 'url' ? 'page' : undefined}>
      A URL
    </a>
    <a class="button" href={ADDITIONS.command} aria-current={is === 'command' ? 'page' : undefined}>
      A command
    </a>
  </nav>
)

interface AddProps {
  frame: Frame
  is: keyof typeof ADDITIONS
  mayRunCommands: boolean
  /** The same form sent twice makes one server. */
  formId: string
  /** Why it was not added, if it was sent. */
  failed: Child
  filled: Filled<{ name: string }>
  verb: string
  /** It was looked at, and can be added all the same. */
  isAgain: boolean
  hint: string
  children: Child
}

/** The page that adds a server, around the fields of its kind. */
export const ServerAddFrame = ({ frame, is, mayRunCommands, formId, failed, filled, ...form }: AddProps) => (
  <Layout title="Add a server" frame={frame} narrow>
    <Crumb to="/servers">Servers</Crumb>
    <h1>Add a server</h1>
    {mayRunCommands && <WhatToAdd is={is} />}
    {failed}
    <form class="stack" method="post" action={ADDITIONS[is]} data-once>
      <input type="hidden" name="form" value={formId} />
      <Field
        name="name"
        label="Name"
        hint="It stands in URLs: a-z, 0-9, dot, dash and underscore."
        filled={filled}
        required
      />
      {form.children}
      <div class="choices">
        <button type="submit" class="main">
          {form.verb}
        </button>
        {form.isAgain && (
          <button type="submit" name="anyway" value="yes">
            Add it all the same
          </button>
        )}
        <a class="button" href="/servers">
          Cancel
        </a>
      </div>
      <p class="hint">{form.hint}</p>
    </form>
  </Layout>
)

interface EditProps {
  frame: Frame
  name: string
  /** Why nothing was changed, if it was sent. */
  failed: Child
  hint: string
  children: Child
}

/** The page that changes a server, around the fields of its kind. */
export const ServerEditFrame = ({ frame, name, failed, hint, children }: EditProps) => (
  <Layout title={`Edit ${name}`} frame={frame} narrow>
    <p class="crumb">
      <a href="/servers">Servers</a> / <a href={serverHref(name)}>{name}</a>
    </p>
    <h1>{`Edit ${name}`}</h1>
    {failed}
    <form class="stack" method="post" action={`${serverHref(name)}/edit`} data-once>
      {children}
      <Choices verb="Save" back={serverHref(name)} />
      <p class="hint">{hint}</p>
    </form>
  </Layout>
)
