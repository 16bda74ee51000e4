import { asc, eq } from 'drizzle-orm'
import { conflict } from '../error.ts'
import type { SessionEnd } from '../access.ts'
import type { Actor, Operator } from '../operator.ts'
import type { OperatorSession } from '../session.ts'
import { fact } from './log.ts'
import type { Store } from './open.ts'
import { operators } from './schema.ts'

/** People who sign in. */
export class OperatorStore {
  constructor(readonly store: Store) {}

  all(): Operator[] {
    return this.store.db.select().from(operators).orderBy(asc(operators.id)).all()
  }

  named(name: string): Operator | null {
    return this.store.db.select().from(operators).where(eq(operators.name, name)).get() ?? null
  }

  insert(operator: Operator, actor: Actor): void {
    if (this.named(operator.name)) throw conflict(`an operator is called "${operator.name}" already`)
    const { id, name, role, createdAt } = operator
    const event = { actor: actor.name, action: 'operator.create', targetId: id, targetName: name, details: { role } }
    this.store.log.change(event, [fact('change', 'operator.put', { id, name, role, createdAt })], () => {
      this.store.db.insert(operators).values(operator).run()
    })
  }

  remove(operator: Operator, actor: Actor): void {
    const event = { actor: actor.name, action: 'operator.remove', targetId: operator.id, targetName: operator.name }
    this.store.log.change(event, [fact('change', 'operator.remove', { id: operator.id })], () => {
      this.store.db.delete(operators).where(eq(operators.id, operator.id)).run()
    })
  }

  putPassword(operator: Operator, passwordHash: string, actor: Actor): void {
    const event = { actor: actor.name, action: 'operator.password', targetId: operator.id, targetName: operator.name }
    this.store.log.change(event, [], () => {
      this.store.db.update(operators).set({ passwordHash }).where(eq(operators.id, operator.id)).run()
    })
  }

  putSignIn(operator: Operator, at: number, { id: session, address }: { id: string; address: string }): void {
    const event = {
      actor: `operator:${operator.name}`,
      action: 'operator.sign-in',
      targetId: operator.id,
      targetName: operator.name,
      details: { address, session },
    }
    this.store.log.change(event, [], () => {
      this.store.db.update(operators).set({ lastSignInAt: at }).where(eq(operators.id, operator.id)).run()
    })
  }

  putSessionEnd(operator: Operator, session: OperatorSession, action: SessionEnd, actor: Actor): void {
    const { id, openedFrom, client } = session
    const event = {
      actor: actor.name,
      action,
      targetId: operator.id,
      targetName: operator.name,
      details: { session: id, openedFrom, client },
    }
    this.store.log.change(event, [], () => {})
  }

  putLink(operator: Operator | null, actor: Actor): void {
    const event = {
      actor: actor.name,
      action: 'operator.link',
      targetId: operator?.id ?? null,
      targetName: operator?.name ?? null,
    }
    this.store.log.change(event, [], () => {})
  }
}
