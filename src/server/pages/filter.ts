import type { Node } from '../../node.ts'
import { holdsSecret } from '../../secret.ts'
import { isScript, seeOther } from './page.ts'

/** Names of servers to filter by; null: too many to choose from. */
export const serverNamesOf = ({ servers, limits }: Node): string[] | null =>
  servers.byName.size > limits.serverChoicesMax ? null : servers.sorted().map(({ name }) => name)

/** One field of a filter; empty when it is a secret. */
export const textOf = (fields: URLSearchParams, name: string, lengthMax: number): string => {
  const given = (fields.get(name) ?? '').trim()
  return holdsSecret(given) ? '' : given.slice(0, lengthMax)
}

/** Where a list stands when a secret was put into its filter: without it, and saying so. */
export const withoutPasted = (path: string): string => `${path}${path.includes('?') ? '&' : '?'}pasted=`
export const isPasted = (fields: URLSearchParams): boolean => fields.has('pasted')

/** What a filter answers, by the path that says the same: the list itself to a script, else where the list is. */
export const filterAnswer = (
  request: Request,
  fields: URLSearchParams,
  path: string,
  list: (path: string) => Response | Promise<Response>,
): Response | Promise<Response> => {
  const at = [...fields.values()].some(holdsSecret) ? withoutPasted(path) : path
  return isScript(request) ? list(at) : seeOther(at)
}
