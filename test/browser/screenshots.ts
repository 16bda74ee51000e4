import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { launch, signIn } from './chromium.ts'
import { startStates, STATES } from './cluster-states.ts'
import { sweep } from './pages.ts'
import { startWorld } from './world.ts'

/** Every page in both themes and on a phone, into a folder that git does not see. Names of files: those of the pages. */
const folder = join(import.meta.dir, '../.tmp/screenshots')
const LOOKS = [
  { look: 'light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { look: 'dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { look: 'phone', colorScheme: 'light', viewport: { width: 360, height: 780 } },
] as const

mkdirSync(folder, { recursive: true })
const wanted = process.argv.slice(2)
const isWanted = (title: string) => wanted.length === 0 || wanted.some((part) => title.includes(part))
const states = startStates()
await using world = await startWorld()
const browser = await launch()
for (const { look, ...options } of LOOKS) {
  const context = await browser.newContext(options)
  await signIn(context, world.owner)
  const page = await context.newPage()
  for (const { title, path, ready } of sweep(world)) {
    if (!isWanted(title)) continue
    await page.goto(world.node.console + path)
    await ready?.(page)
    await page.screenshot({ path: join(folder, `${title}-${look}.png`), fullPage: true })
  }
  for (const [name, stateOf] of Object.entries(STATES)) {
    for (const [title, path] of [
      [`cluster-${name}`, '/cluster'],
      [`cluster-receipt-${name}`, '/revocations/rev_1'],
    ] as const) {
      if (!isWanted(title)) continue
      states.show(stateOf())
      await page.goto(states.url + path)
      await page.screenshot({ path: join(folder, `${title}-${look}.png`), fullPage: true })
    }
  }
  await context.close()
}
await states.stop()
await browser.close()
console.log(`look into ${folder}`)
