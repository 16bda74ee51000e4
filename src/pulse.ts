import type { Limits } from './limits.ts'
import type { Clock } from './time.ts'

/** What counts since the start say, and how many connections live. */
export interface Vitals {
  connections: number
  requests: number
  refusals: number
  /** Requests with tokens that are dead. */
  deadTries: number
}

type Counts = Omit<Vitals, 'connections'>

/** One slot: connections at its end, and what was counted in it. Nothing is known of one in which the process slept. */
export type PulseSlot = { at: number } & (Vitals | { [Name in keyof Vitals]: null })

/** What was counted in the last minute, and how much of that minute was looked at. */
export type PulseMinute = Counts & { measuredMs: number }

/** A timer may fire a moment before its time. */
const EARLY_MS = 50
const NOTHING = { connections: null, requests: null, refusals: null, deadTries: null }

/** What is alive now: a ring of a few seconds each, for the last minutes. */
export class Pulse {
  /** By the slot's number modulo the ring's length. */
  readonly #ring: ({ number: number } & Vitals)[] = []
  #before: Counts
  /** The last slot that was closed, at its end or too late. */
  #closed: number
  #timer: NodeJS.Timeout | undefined

  constructor(
    readonly limits: Limits,
    readonly now: Clock,
    readonly read: () => Vitals,
  ) {
    this.#before = read()
    this.#closed = Math.floor(now() / limits.pulseSlotMs) - 1
  }

  start(): void {
    this.#sampleLater()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /**
   * Closes the slot that has ended. When the process slept over the end of one before, nothing is known of
   * this one either: what was counted since belongs to the slot that runs, in which the process woke.
   */
  sample(): void {
    const { pulseSlotMs, pulseSlots } = this.limits
    const number = Math.floor((this.now() + EARLY_MS) / pulseSlotMs) - 1
    const isNext = number === this.#closed + 1
    this.#closed = number
    if (!isNext) return
    const { connections, ...counts } = this.read()
    this.#ring[number % pulseSlots] = {
      number,
      connections,
      requests: counts.requests - this.#before.requests,
      refusals: counts.refusals - this.#before.refusals,
      deadTries: counts.deadTries - this.#before.deadTries,
    }
    this.#before = counts
  }

  /** Every slot of the last minutes that has ended, the oldest first. */
  get slots(): PulseSlot[] {
    const { pulseSlotMs, pulseSlots } = this.limits
    const end = this.#end
    return Array.from({ length: pulseSlots }, (_, index) => {
      const number = end - pulseSlots + index
      const known = this.#known(number)
      if (!known) return { at: number * pulseSlotMs, ...NOTHING }
      const { connections, requests, refusals, deadTries } = known
      return { at: number * pulseSlotMs, connections, requests, refusals, deadTries }
    })
  }

  /** Of the slots of the last 60 seconds; what was not looked at is not guessed. */
  get perMinute(): PulseMinute {
    const { pulseSlotMs } = this.limits
    const sum = { requests: 0, refusals: 0, deadTries: 0, measuredMs: 0 }
    const end = this.#end
    for (let number = end - Math.round(60_000 / pulseSlotMs); number < end; number += 1) {
      const slot = this.#known(number)
      if (!slot) continue
      sum.requests += slot.requests
      sum.refusals += slot.refusals
      sum.deadTries += slot.deadTries
      sum.measuredMs += pulseSlotMs
    }
    return sum
  }

  /** The number of the slot that runs. Whoever asks just as one has ended may come before the timer. */
  get #end(): number {
    this.sample()
    return Math.floor(this.now() / this.limits.pulseSlotMs)
  }

  #known(number: number) {
    const slot = this.#ring[number % this.limits.pulseSlots]
    return slot?.number === number ? slot : null
  }

  #sampleLater(): void {
    const { pulseSlotMs } = this.limits
    this.#timer = setTimeout(
      () => {
        this.sample()
        this.#sampleLater()
      },
      pulseSlotMs - (this.now() % pulseSlotMs),
    )
    this.#timer.unref()
  }
}
