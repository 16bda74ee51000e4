import type { Command } from 'commander'
import type { NodeJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { EXIT } from './exit.ts'
import { clean, counted } from './output.ts'

/** Container engines give a check a few seconds before they count it as failed. */
const TIMEOUT_MS = 5_000

const healthText = (node: NodeJson): string =>
  node.ready
    ? `Node ${clean(node.node)} is ready, ${counted(node.connections, 'connection')}.`
    : [`Node ${clean(node.node)} is not ready:`, ...node.problems.map((problem) => `  ${clean(problem)}`)].join('\n')

export const healthcheckCommand = (program: Command, cli: Cli): void => {
  program
    .command('healthcheck')
    .description('exits 0 when the node answers and is ready, 1 when it is not ready, 3 when none answers')
    .action(async () => {
      const { body: node } = await cli.client().call<NodeJson>('GET', '/node', { timeoutMs: TIMEOUT_MS })
      await cli.print(node, () => healthText(node))
      if (!node.ready) cli.exitCode = EXIT.failed
    })
}
