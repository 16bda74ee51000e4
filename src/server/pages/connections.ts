import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { FORM, formOf } from './form.ts'
import { seeOther } from './page.ts'
import { personOf } from './person.ts'

export const connectionRoutes = (node: Node) =>
  new Elysia({ name: 'connections' }).post(
    '/connections/:id/kill',
    async ({ request, params }) => {
      const { actor } = personOf(request)
      requireRole(actor, 'operator', true)
      const q = (await formOf(request)).get('q')
      node.control.killConnection(params.id, actor)
      return seeOther(`/?${new URLSearchParams({ ...(q ? { q } : {}), killed: params.id })}`)
    },
    FORM,
  )
