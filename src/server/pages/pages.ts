import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'

/** The pages of the console. */
export const createPages = (_node: Node) => new Elysia()

export type Pages = { handle(request: Request): Promise<Response> }
