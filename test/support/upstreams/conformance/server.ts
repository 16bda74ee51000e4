import { startBothEras } from '../both-eras.ts'
import { startImplementation } from './implementation.ts'

/** The upstream that the conformance suites ask for, over HTTP. */
export const startConformance = async () => {
  const implementation = startImplementation(() => served.notify)
  const served = startBothEras(implementation.newServer)
  return {
    url: served.url,
    stop: async () => {
      implementation.stop()
      await served.stop()
    },
  }
}
