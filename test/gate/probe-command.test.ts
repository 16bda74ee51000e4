import { expect, test } from 'bun:test'
import { foundOf, probingCommands } from '../../src/gate/probe-command.ts'
import { notStartable, ProblemError, problems } from '../../src/gate/problem.ts'
import type { Probed } from '../../src/health.ts'
import { STDIO_URL, type StdioStatus } from '../../src/stdio.ts'
import { serverAt } from '../support/server.ts'

const statusWith = (extra: Partial<StdioStatus> = {}): StdioStatus => ({
  ...{ processes: 0, startedInAll: 0, crashes: 0, lastCrash: null, retryAt: null, problem: null, stderr: [] },
  ...extra,
})

test.each([
  [{}, true, 'no process runs'],
  [{ processes: 1 }, true, '1 process runs'],
  [{ processes: 2, crashes: 3 }, true, '2 processes run'],
  [{ problem: 'exited once, last: exit code 1' }, false, 'exited once, last: exit code 1'],
] as [Partial<StdioStatus>, boolean, string][])('of %p: %p, %p', (status, reachable, detail) => {
  expect(foundOf(statusWith(status))).toEqual({ reachable, detail })
})

/** What the supervisor would know. */
const startProcesses = (status: StdioStatus) => ({
  status,
  statusOf() {
    return this.status
  },
  fails(_: unknown, problem: string) {
    this.status = { ...this.status, problem }
  },
})

test('a look that nobody asked for starts nothing, and keeps what the server said of itself', async () => {
  const server = serverAt(STDIO_URL, { kind: 'stdio' })
  const calls: string[] = []
  const call = (_: unknown, href: string) => {
    calls.push(href)
    return Promise.reject(new ProblemError(notStartable('no such command')))
  }
  const processes = startProcesses(statusWith({ processes: 2 }))
  const probe = probingCommands(call, processes)
  const mcp = { name: 'x', version: '1', revision: '2025-11-25', transport: 'http' as const, tools: 3 }
  const before: Probed = { reachable: false, found: 'mcp', path: '', detail: 'it was so', mcp }
  expect(await probe(server, before)).toEqual({ ...before, reachable: true, detail: '2 processes run' })
  expect(calls).toEqual([])

  expect(await probe(server, null)).toEqual({
    ...{ reachable: false, found: 'nothing', path: '', detail: 'no such command', mcp: null },
  })
  expect(calls).not.toEqual([])
  processes.status = statusWith({ problem: 'exited once, last: exit code 1' })
  expect(await probe(server, null)).toMatchObject({ detail: 'exited once, last: exit code 1' })
})

test('one that works by now and has not introduced itself yet is asked to, and nothing is started where something is wrong', async () => {
  const server = serverAt(STDIO_URL, { kind: 'stdio' })
  let calls = 0
  const call = () => {
    calls += 1
    return Promise.reject(new ProblemError(problems.processesFull))
  }
  const before: Probed = { reachable: false, found: 'nothing', path: '', detail: 'no such command', mcp: null }
  const processes = startProcesses(statusWith({ problem: 'no such command' }))
  const probe = probingCommands(call, processes)
  expect([await probe(server, before), calls]).toEqual([before, 0])
  processes.status = statusWith({ processes: 1 })
  expect(await probe(server, before)).toMatchObject({ reachable: false, detail: problems.processesFull.detail })
  expect(calls).toBeGreaterThan(0)
})

test('what answers otherwise than an MCP server is not taken for reachable later', async () => {
  const server = serverAt(STDIO_URL, { kind: 'stdio' })
  const processes = startProcesses(statusWith({ processes: 1 }))
  const probe = probingCommands(() => Promise.resolve(new Response('{}', { status: 404 })), processes)
  const found = await probe(server, null)
  const detail = 'its process runs, and does not answer as an MCP server'
  expect(found).toMatchObject({ reachable: false, detail })
  expect(await probe(server, found)).toMatchObject({ reachable: false, detail })
})
