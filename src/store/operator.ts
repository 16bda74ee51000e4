import { asc, eq } from 'drizzle-orm'
import { conflict } from '../error.ts'
import type { Fact } from '../fact.ts'
import type { SessionEnd } from '../access.ts'
import type { Actor, Operator } from '../operator.ts'
import type { OperatorSession } from '../session.ts'
import type { Store } from './open.ts'
import { operators } from './schema.ts'

/** People who sign in. */
export class OperatorStore {
  constructor(readonly store: Store) {}

  all(): Operator[] {
    return this.store.db.select().from(operators).orderBy(asc(operators.id)).all()
  }

  /** The one that signs in by that name: the first made, where two nodes each made one. */
  named(name: string): Operator | null {
    const byAge = [asc(operators.createdAt), asc(operators.id)]
    return (
      this.store.db
        .select()
        .from(operators)
        .where(eq(operators.name, name))
        .orderBy(...byAge)
        .get() ?? null
    )
  }

  insert(operator: Operator, actor: Actor): void {
    if (this.named(operator.name)) throw conflict(`an operator is called "${operator.name}" already`)
    const { id, name, role } = operator
    const event = { actor: actor.name, action: 'operator.create', targetId: id, targetName: name, details: { role } }
    this.store.log.change(event, operatorFacts(operator, actor.name), () => this.put(operator))
  }

  remove(all: readonly Operator[], actor: Actor): void {
    const events = all.map(({ id, name }) => ({
      actor: actor.name,
      action: 'operator.remove',
      targetId: id,
      targetName: name,
    }))
    const facts = all.map(({ id }) => operatorRemoved(id, actor.name))
    this.store.log.changes(events, facts, () => {
      for (const { id } of all) this.drop(id)
    })
  }

  putPassword(operator: Operator, passwordHash: string, actor: Actor): void {
    const event = { actor: actor.name, action: 'operator.password', targetId: operator.id, targetName: operator.name }
    this.store.log.change(event, [passwordFact(operator.id, passwordHash, actor.name)], () =>
      this.setPassword(operator.id, passwordHash),
    )
  }

  withId(id: string): Operator | null {
    return this.store.db.select().from(operators).where(eq(operators.id, id)).get() ?? null
  }

  /** Within the caller's transaction, like all that follow. */
  put(operator: Operator): void {
    const { name, role } = operator
    this.store.db
      .insert(operators)
      .values(operator)
      .onConflictDoUpdate({ target: operators.id, set: { name, role } })
      .run()
  }

  setPassword(id: string, passwordHash: string): void {
    this.store.db.update(operators).set({ passwordHash }).where(eq(operators.id, id)).run()
  }

  /** Whatever is said of it later, by whichever node, comes to nothing. */
  drop(id: string): void {
    this.store.db.delete(operators).where(eq(operators.id, id)).run()
    this.store.log.registers.end(`operator:${id}`)
    this.store.log.registers.end(`password:${id}`)
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

/** An operator, and the password where there is one. */
export const operatorFacts = ({ id, name, role, createdAt, passwordHash }: Operator, by: string): Fact[] => [
  {
    stream: 'change',
    kind: 'operator.put',
    payload: { id, name, role, createdAt, by },
    registers: [`operator:${id}`],
  },
  ...(passwordHash === null ? [] : [passwordFact(id, passwordHash, by)]),
]

const passwordFact = (id: string, passwordHash: string, by: string): Fact => ({
  stream: 'change',
  kind: 'operator.password',
  payload: { id, passwordHash, by },
  registers: [`password:${id}`],
})

/** It overtakes all else, like a revocation. */
const operatorRemoved = (id: string, by: string): Fact => ({
  stream: 'revocation',
  kind: 'operator.remove',
  payload: { id, by },
})
