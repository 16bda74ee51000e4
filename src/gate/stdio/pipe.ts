import type { Socket } from 'bun'

/** The runtime's types know this kind of options, but not that `connect` takes them. */
const connect = Bun.connect as unknown as (options: Bun.FdSocketOptions) => Promise<Socket>

/**
 * One of a process's standard streams, at our end: a socket of the kernel's, which tells how much it took of what was
 * written, and is not read while it is paused. The runtime's own streams do neither.
 */
const adopt = (fd: number, handler: Partial<Bun.SocketHandler<undefined>>): void => {
  // It fails for what is no descriptor, which would be a defect: it is told as one.
  void connect({ fd, socket: { data: () => {}, ...handler } }).catch((error: unknown) =>
    queueMicrotask(() => Promise.reject(error)),
  )
}

/** The standard input of a process: what it has not taken yet waits here. */
export class InputPipe {
  #socket: Socket | null = null
  #queue: Uint8Array[] = []
  #waiting = 0
  #ended = false
  /** By the process. */
  closed = false

  constructor(
    fd: number,
    readonly bytesMax: number,
  ) {
    adopt(fd, {
      open: (socket) => {
        this.#socket = socket
        this.#flush()
      },
      drain: () => this.#flush(),
      close: () => {
        this.closed = true
        this.discard()
      },
    })
  }

  /** False: it has no room. What the kernel takes at once does not wait. */
  write(bytes: Uint8Array): boolean {
    if (this.#waiting + bytes.length > this.bytesMax) return false
    if (this.closed || this.#ended) return true
    this.#queue.push(bytes)
    this.#waiting += bytes.length
    if (this.#queue.length === 1) this.#flush()
    return true
  }

  /** What waits is never written. */
  discard(): void {
    this.#queue = []
    this.#waiting = 0
  }

  end(): void {
    this.discard()
    this.#ended = true
    this.#socket?.end()
  }

  #flush(): void {
    if (this.#ended) this.#socket?.end()
    let bytes = this.#queue[0]
    while (bytes && this.#socket && !this.closed) {
      const taken = this.#socket.write(bytes)
      // The process has closed it, and the event of that comes later.
      if (taken < 0) return this.discard()
      this.#waiting -= taken
      if (taken < bytes.length) {
        this.#queue[0] = bytes.subarray(taken)
        return
      }
      this.#queue.shift()
      bytes = this.#queue[0]
    }
  }
}

/** Its standard output or error. Nothing is read before `resume`. */
export class OutputPipe {
  #socket: Socket | null = null
  #paused = true
  closed = false

  constructor(fd: number, onData: (bytes: Uint8Array) => void, onClose: () => void) {
    adopt(fd, {
      open: (socket) => {
        this.#socket = socket
        if (this.#paused) socket.pause()
      },
      data: (_, bytes) => onData(bytes),
      close: () => {
        this.closed = true
        onClose()
      },
    })
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    if (!this.closed) this.#socket?.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (!this.closed) this.#socket?.resume()
  }

  close(): void {
    this.#socket?.terminate()
  }
}
