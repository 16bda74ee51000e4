/** Milliseconds on the clock of the machine, in microseconds' steps: alike in every process, so that one may stamp and another read. */
export const machineMs = (): number => performance.timeOrigin + performance.now()
