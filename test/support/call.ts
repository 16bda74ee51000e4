import { caller } from '../../src/gate/upstream.ts'

/** How servers at URLs are called; none is a command. */
export const call = caller(() => Promise.reject(new Error('no server is a command here')))
