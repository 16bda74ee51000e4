/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { HomePage, Live } from '../../views/home.tsx'
import { listsOf } from './lists.ts'
import { frameOf, page, partial } from './page.ts'
import { personOf } from './person.ts'

const KILLED = /^c[0-9a-z]{1,12}$/

/** Said only while it is true: anybody could have written the address. */
const noticeOf = (node: Node, killed: string | null): string | null =>
  killed !== null && KILLED.test(killed) && !node.registry.get(killed)
    ? `Connection ${killed} is cut. Its token stays as it was.`
    : null

/** The main page, and the part of it that is fetched again and again. */
export const homeRoutes = (node: Node) =>
  new Elysia({ name: 'home' })
    .get('/', ({ request }) => {
      const { actor } = personOf(request)
      const { searchParams } = new URL(request.url)
      const lists = listsOf(node, actor, searchParams.get('q'))
      const notice = noticeOf(node, searchParams.get('killed'))
      const { nameLengthMax } = node.limits
      return page(<HomePage frame={frameOf(node, request)} {...{ lists, notice }} filterLengthMax={nameLengthMax} />)
    })
    .get('/live', ({ request }) => {
      const { actor } = personOf(request)
      return partial(<Live {...listsOf(node, actor, new URL(request.url).searchParams.get('q'))} />)
    })
