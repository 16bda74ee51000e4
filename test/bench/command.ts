import { Head, BodyReader, framingOf } from '../support/http1.ts'

export type Address = { unix: string } | { hostname: string; port: number }

/** What kills: bytes on a connection that is open already. */
export type Command = {
  address: Address
  bytes: string
  /** Whether the answer ends as HTTP says; else it ends with the connection. */
  http: boolean
  /** A request asked on the same connection just before, so that it is one that was kept alive. */
  warmUp?: string
}

/** An open connection for commands; each `send` resolves with the answer and when its last byte came. */
export const connectCommand = async ({ address, http }: Command) => {
  let text = Buffer.alloc(0)
  let settle: (answer: { text: string; at: number }) => void = () => undefined
  const done = () => settle({ text: text.toString(), at: performance.now() })
  const whole = (): boolean => {
    const end = text.indexOf('\r\n\r\n')
    if (!http || end === -1) return false
    const framing = framingOf(new Head(text.subarray(0, end).toString('latin1')), { kind: 'close' })
    const body = new BodyReader(framing, () => undefined)
    body.push(text.subarray(end + 4))
    return body.complete
  }
  const handlers: Bun.SocketHandler = {
    data: (_socket, bytes) => {
      text = Buffer.concat([text, bytes])
      if (whole()) done()
    },
    close: done,
    error: done,
  }
  const socket = await ('unix' in address
    ? Bun.connect({ unix: address.unix, socket: handlers })
    : Bun.connect({ ...address, socket: handlers }))
  return {
    send: (bytes: string): Promise<{ text: string; at: number }> =>
      new Promise((resolve) => {
        text = Buffer.alloc(0)
        settle = resolve
        socket.write(bytes)
      }),
    close: () => socket.terminate(),
  }
}
