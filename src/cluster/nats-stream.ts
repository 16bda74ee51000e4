import {
  type ConsumerMessages,
  DeliverPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  StorageType,
  type StreamInfo,
} from '@nats-io/jetstream'
import { type NatsConnection, nanos } from '@nats-io/transport-node'
import { messageOf } from '../error.ts'
import type { Limits } from '../limits.ts'

export interface NatsStreamDeps {
  name: string
  subject: string
  limits: Pick<Limits, 'natsStreamAgeMs' | 'natsStreamBytesMax' | 'natsStreamExpiresMs' | 'natsStreamRetryMs'>
  onMessage(subject: string, frame: Uint8Array): void
  warn(text: string): void
}

/** Codes of JetStream's errors: the same stream with other settings, no cluster of servers, too few of them. */
const OTHER_SETTINGS = 10058
const NOT_CLUSTERED = 10074
const TOO_FEW_SERVERS = 10005

const REPLICAS = 3

/**
 * What JetStream keeps of the facts, for nodes that were away when they were published. Nothing rests on it: it is made again
 * when it is gone, and what it lost the digests find.
 */
export class NatsStream {
  #messages: ConsumerMessages | null = null
  #warned = ''
  #stopped = false
  /** Where to go on: the last message that was read, and of which stream, by the time it was made. */
  #read = { made: '', seq: 0 }

  constructor(
    readonly connection: NatsConnection,
    readonly deps: NatsStreamDeps,
  ) {}

  /** Returns when the connection is closed. */
  async keep(): Promise<void> {
    while (!this.#stopped && !this.connection.isClosed()) {
      try {
        await this.#follow(await this.#make())
      } catch (error) {
        const text = `JetStream: ${messageOf(error)}`
        if (!this.connection.isClosed() && text !== this.#warned) this.deps.warn(text)
        this.#warned = text
      }
      await Bun.sleep(this.deps.limits.natsStreamRetryMs)
    }
  }

  async #make(): Promise<StreamInfo> {
    const { name, subject, limits } = this.deps
    const manager = await jetstreamManager(this.connection)
    const add = (replicas: number) =>
      manager.streams.add({
        name,
        subjects: [subject],
        storage: StorageType.File,
        num_replicas: replicas,
        max_age: nanos(limits.natsStreamAgeMs),
        max_bytes: limits.natsStreamBytesMax,
      })
    const codeOf = (error: unknown) => (error instanceof JetStreamApiError ? error.code : null)
    try {
      return await add(this.connection.info?.cluster === undefined ? 1 : REPLICAS)
    } catch (error) {
      // Somebody chose other settings, as more replicas or another age: theirs.
      if (codeOf(error) === OTHER_SETTINGS) return manager.streams.info(name)
      if (codeOf(error) === NOT_CLUSTERED || codeOf(error) === TOO_FEW_SERVERS) return add(1)
      throw error
    }
  }

  /** Reads what comes, until the stream is gone. */
  async #follow({ created, config, state }: StreamInfo): Promise<void> {
    // Of a stream that was made anew nothing was read; of before the first connection there is nothing to read.
    const from = this.#read.made === created ? this.#read.seq + 1 : this.#read.made === '' ? state.last_seq + 1 : 1
    this.#read = { made: created, seq: from - 1 }
    const consumer = await jetstream(this.connection).consumers.get(config.name, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: from,
    })
    if (this.#stopped) return
    this.#messages = await consumer.consume({
      expires: this.deps.limits.natsStreamExpiresMs,
      abort_on_missing_resource: true,
      callback: ({ subject, data, seq }) => {
        this.#read.seq = seq
        this.deps.onMessage(subject, data)
      },
    })
    this.#warned = ''
    await this.#messages.closed()
  }

  stop(): void {
    this.#stopped = true
    void this.#messages?.close()
  }
}
