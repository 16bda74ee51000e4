import { expect, test } from 'bun:test'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { HELPERS } from './world.ts'

const BEFORE = `${HELPERS}
upstream 3001
node
printf 'Bearer ghp_secret' > github-token.txt
`

const AFTER = `
is_alive "$secret" github
cat activity.csv audit.csv metrics.txt
portcullis token ls
`

test.if(mayRunGuides())('everyday work goes as it is told', async () => {
  const ran = await runGuide('docs/use.md', { before: BEFORE, after: AFTER })
  expectShown(ran)
  const printed = (part: string) => ran.find(({ block }) => block.text.includes(part))
  // What the server got was its own credential, and not the client's.
  expect(printed('v1/status')?.stdout).toBe('Bearer ghp_secret\n')
  expect(printed('"group":"team-red"')?.stdout).toContain('"name":"Cursor IDE"')
  expect(printed('"group":"team-red"')?.stdout).toMatch(/^tok_\w+ +Cursor IDE +revoked/m)
  const left = ran.at(-1)?.stdout
  expect(left).toContain('server,method,name,address,client')
  expect(left).toContain('portcullis_ready 1')
  expect(left).toMatch(/VS Code +revoked/)
  expect(left).toMatch(/triage +active/)
})
