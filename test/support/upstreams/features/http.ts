import { startBothEras } from '../both-eras.ts'
import { newFeatureServer } from './server.ts'

/** The same server as the command next to it, without a command in between. */
export const startFeatures = () => {
  const served = startBothEras(({ era }) => newFeatureServer(era === 'modern' ? served.notify : null))
  return served
}
