import type { Access } from '../../access.ts'
import type { ApiKey, ApiKeys } from '../../apikey.ts'
import { stampOf } from '../../fact.ts'
import type { Operator } from '../../operator.ts'
import { ApiKeyStore } from '../apikey.ts'
import type { Store } from '../open.ts'
import { OperatorStore } from '../operator.ts'
import type { Handlers, ReadFact, Written } from './handler.ts'

export interface PeopleServices {
  store: Store
  access: Pick<Access, 'sessions'>
  apiKeys: Pick<ApiKeys, 'came' | 'went'>
}

const NOTHING = { event: null, after: () => 0 }

/** What other nodes did with operators, and with the keys of programs. */
export const peopleHandlers = ({ store, access, apiKeys }: PeopleServices): Handlers => {
  const operators = new OperatorStore(store)
  const keys = new ApiKeyStore(store)
  const registers = store.log.registers

  const putOperator = ({ payload, hlc, origin }: ReadFact): Written => {
    const { id, name, role, createdAt, by } = payload as unknown as Operator & { by: string }
    // Also when it was removed: no stamp is above that.
    if (!registers.take(`operator:${id}`, stampOf(hlc, origin))) return NOTHING
    const here = operators.withId(id)
    operators.put({ ...(here ?? { lastSignInAt: null, passwordHash: null }), id, name, role, createdAt })
    return {
      event: { actor: by, action: 'operator.create', targetId: id, targetName: name, details: { role } },
      came: `operator:${id}`,
      after: () => 0,
    }
  }

  const setPassword = ({ payload, hlc, origin }: ReadFact): Written => {
    const { id, passwordHash, by } = payload as { id: string; passwordHash: string; by: string }
    const here = operators.withId(id)
    if (here === null) return registers.hasEnded(`operator:${id}`) ? NOTHING : { missing: `operator:${id}` }
    if (!registers.take(`password:${id}`, stampOf(hlc, origin))) return NOTHING
    operators.setPassword(id, passwordHash)
    return {
      event: { actor: by, action: 'operator.password', targetId: id, targetName: here.name },
      after() {
        // The restatement of a founding, and what a restore brings back, is no new password.
        if (here.passwordHash !== passwordHash) access.sessions.closeAllOf(id)
        return 0
      },
    }
  }

  const removeOperator = ({ payload }: ReadFact): Written => {
    const { id, by } = payload as { id: string; by: string }
    const here = operators.withId(id)
    if (registers.hasEnded(`operator:${id}`)) return NOTHING
    operators.drop(id)
    return {
      event: { actor: by, action: 'operator.remove', targetId: id, targetName: here?.name ?? null },
      after() {
        access.sessions.closeAllOf(id)
        return 0
      },
    }
  }

  const putKey = ({ payload }: ReadFact): Written => {
    const { id, name, role, digest, keyId, createdAt, createdBy, expiresAt } = payload as unknown as ApiKey
    const key: ApiKey = { id, name, role, digest, keyId, createdAt, createdBy, expiresAt, revokedAt: null }
    if (registers.hasEnded(`apikey:${id}`) || keys.withId(id)) return NOTHING
    keys.put(key)
    return {
      event: {
        actor: createdBy,
        action: 'apikey.create',
        targetId: id,
        targetName: name,
        details: { role, expiresAt },
      },
      after() {
        apiKeys.came(key)
        return 0
      },
    }
  }

  const removeKey = ({ payload }: ReadFact): Written => {
    const { id, at, by } = payload as { id: string; at: number; by: string }
    if (registers.hasEnded(`apikey:${id}`)) return NOTHING
    const here = keys.withId(id)
    keys.drop(id, at)
    return {
      event: { actor: by, action: 'apikey.remove', targetId: id, targetName: here?.name ?? null },
      after() {
        apiKeys.went(id)
        return 0
      },
    }
  }

  return {
    'operator.put': { write: putOperator },
    'operator.password': { write: setPassword },
    'operator.remove': {
      write: removeOperator,
      deny: ({ payload }) => access.sessions.closeAllOf(String(payload.id)),
    },
    'apikey.put': { write: putKey },
    'apikey.remove': {
      write: removeKey,
      deny: ({ payload }) => apiKeys.went(String(payload.id)),
    },
  }
}
