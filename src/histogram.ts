/** Counts how long something took, in buckets: percentiles over any span of time can be had from it. */
export class Histogram {
  /** For each bound, how many took at most so long, and longer than the bound before; last, how many longer than all. */
  readonly counts: number[]
  sumMs = 0

  constructor(readonly boundsMs: readonly number[]) {
    this.counts = Array<number>(boundsMs.length + 1).fill(0)
  }

  observe(ms: number): void {
    const place = this.boundsMs.findIndex((boundMs) => ms <= boundMs)
    const found = place === -1 ? this.boundsMs.length : place
    this.counts[found] = (this.counts[found] as number) + 1
    this.sumMs += ms
  }
}
