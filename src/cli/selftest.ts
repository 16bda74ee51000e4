import type { Command } from 'commander'
import type { SelfTestJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { EXIT } from './exit.ts'
import { clean, fields, millis, table } from './output.ts'

/** Longer than a test may take, and some that it waits for. What takes longer still is no node that answers. */
const TIMEOUT_MS = 60_000

const SAYS: Record<string, string> = {
  upstream: 'a server for the test, on the loopback',
  open: 'a hidden token opens a stream through the gate',
  commit: 'the revocation is committed',
  sync: 'the commit is synced to the disk',
  cut: 'the live stream is cut',
  end: 'the client sees its stream end',
  farewell: 'with a farewell, and nothing after it',
  refusal: 'the dead token is refused with 401',
  row: 'another connection finds the commit in the database file',
  chain: 'the audit log ends there as the node remembers it',
  release: 'the request to the server is cancelled, nothing is left of it',
  audit: 'the result is in the audit log',
  timeout: 'all of it in good time',
}

const verdict = ({ ok, step, message, meaning }: SelfTestJson): string =>
  ok
    ? 'PASSED  Revoking works on this node.'
    : `FAILED  at "${clean(step ?? '')}": ${clean(message ?? '')}
        That means: ${clean(meaning ?? '')}.
        What to do: portcullis doctor; and docs/selftest.md, "When it fails".`

const selftestText = (test: SelfTestJson): string => {
  const { timings } = test
  const steps = test.steps.map(({ step, state, message }) => [
    state === 'passed' ? 'ok' : state.toUpperCase(),
    step,
    message ?? SAYS[step] ?? '',
  ])
  return [
    verdict(test),
    '',
    table(['', 'STEP', 'WHAT'], steps, ''),
    '',
    'From the revocation on:',
    fields([
      timings.syncMs === null
        ? ['  not committed', millis(timings.commitMs)]
        : ['  committed', `${millis(timings.commitMs)}, of which ${millis(timings.syncMs)} to write and sync`],
      ['  refused from', millis(timings.deniedMs)],
      ['  cut', `first ${millis(timings.firstCutMs)}, last ${millis(timings.lastCutMs)}`],
      ['  end seen by the client', millis(timings.endSeenMs)],
    ]),
    ...test.remarks.map((remark) => `\nRemark: ${clean(remark)}.`),
  ].join('\n')
}

export const selftestCommand = (program: Command, cli: Cli): void => {
  program
    .command('selftest')
    .description('kill a hidden token on the running node, and look whether all went as promised')
    .addHelpText(
      'after',
      `
Touches none of your tokens, servers and connections; leaves one row in the audit log.
Exits 0 passed, 1 failed, 3 no node answers. docs/selftest.md tells what it proves.`,
    )
    .action(async () => {
      const { body: test } = await cli
        .client()
        .call<SelfTestJson>('POST', '/selftest', { body: {}, timeoutMs: TIMEOUT_MS })
      await cli.print(test, () => selftestText(test))
      if (!test.ok) cli.exitCode = EXIT.failed
    })
}
