import { afterAll, beforeAll, describe } from 'bun:test'
import { KINDS } from '../gate/cut-kinds.ts'
import { testAddresses } from './addresses.ts'
import { testConsole } from './console.ts'
import { testCuts } from './cuts.ts'
import { testLogs } from './logs.ts'
import { type Proxy, type Scene, startScene } from './scene.ts'
import { STREAMS, testStreams } from './streams.ts'

/** All that must hold behind a proxy, with the configuration that the documents give for it. */
export const testProxy = (proxy: Proxy): void => {
  let scene: Scene
  const kinds = Object.fromEntries(KINDS.map(({ upstream }, index) => [String(index), upstream]))

  beforeAll(async () => {
    scene = await startScene(proxy, { ...kinds, ...STREAMS })
  }, 60_000)
  afterAll(() => scene?.stop())

  describe(`behind ${proxy.name}`, () => {
    testStreams(proxy, () => scene)
    testCuts(proxy, () => scene)
    testAddresses(() => scene)
    testConsole(() => scene)
    testLogs(() => scene)
  })
}
