/** @jsxImportSource hono/jsx */
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import type { StdioSpec } from '../../stdio.ts'
import { formatTime } from '../../time.ts'
import type { Upstream } from '../../upstream.ts'
import { serverHref } from '../../views/server-cells.tsx'
import { CommandAddPage, CommandEditPage, type StdioFailures, type StdioTyped } from '../../views/stdio-form.tsx'
import type { StderrLine } from '../../views/stdio-stderr.tsx'
import { addServer } from './addition.ts'
import { refusalOf } from './fields.ts'
import { frameOf, page, seeOther } from './page.ts'
import { changesOf, commandOf, NEW_COMMAND, typedAs, typedIn } from './stdio-form.ts'

/** A server that is a command. */
export type Command = Upstream & { stdio: StdioSpec }

interface Refused {
  typed: StdioTyped
  failures?: StdioFailures
  failure?: string | null
  unreachable?: { say: string; stderr: readonly StderrLine[] } | null
  status?: number
}

/** Forms to add and change servers that are commands, for owners. */
export const commandForms = (node: Node) => {
  const shared = (request: Request) => ({ frame: frameOf(node, request), isClustered: node.cluster.clustered })

  const addForm = (
    request: Request,
    { typed, failures = {}, failure = null, unreachable = null, status = 200 }: Refused,
  ): Response =>
    page(
      <CommandAddPage
        {...shared(request)}
        formId={crypto.randomUUID()}
        {...{ typed, failures, failure, unreachable }}
      />,
      status,
    )

  const editForm = (
    request: Request,
    server: Command,
    { typed, failures = {}, failure = null, status = 200 }: Refused,
  ): Response => {
    const shown = { name: server.name, processes: node.stdio.statusOf(server).processes }
    return page(<CommandEditPage {...shared(request)} server={shown} {...{ typed, failures, failure }} />, status)
  }

  const add = async (request: Request, fields: URLSearchParams, actor: Actor): Promise<Response> => {
    const typed = typedIn(fields)
    const { name, stdio, failures } = commandOf(fields, null)
    if (Object.keys(failures).length > 0) return addForm(request, { typed, failures, status: 400 })
    try {
      const addition = await addServer(node, actor, fields, { name, stdio })
      if ('added' in addition) return seeOther(serverHref(addition.added.name))
      const stderr = node.stdio.statusOf(addition.silent).stderr.map(({ at, line }) => ({ at: formatTime(at), line }))
      return addForm(request, { typed, unreachable: { say: addition.say, stderr }, status: 422 })
    } catch (error) {
      return addForm(request, { typed, ...refusalOf(error) })
    }
  }

  const change = (request: Request, server: Command, fields: URLSearchParams, actor: Actor): Response => {
    const typed = typedIn(fields)
    const { stdio: asked, failures } = commandOf(fields, server.stdio)
    if (Object.keys(failures).length > 0) return editForm(request, server, { typed, failures, status: 400 })
    try {
      const stdio = changesOf(server.stdio, asked)
      if (Object.keys(stdio).length > 0) node.health.changed(node.control.change(server.name, { stdio }, actor))
      return seeOther(serverHref(server.name))
    } catch (error) {
      return editForm(request, server, { typed, ...refusalOf(error) })
    }
  }

  return {
    empty: (request: Request) => addForm(request, { typed: NEW_COMMAND }),
    add,
    filled: (request: Request, server: Command) =>
      editForm(request, server, { typed: typedAs(server.name, server.stdio) }),
    change,
  }
}
