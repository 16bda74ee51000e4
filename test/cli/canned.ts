import { portcullis } from './run.ts'

/** The API as one state of a cluster would have it, for states that no test can bring a real one into at will. */
export const startCanned = (answers: Record<string, unknown>) => {
  const asked: { method: string; path: string }[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url)
      const path = pathname.replace('/api/v1', '')
      asked.push({ method: request.method, path: path + search })
      const body = answers[`${request.method} ${path}`]
      return body === undefined ? new Response(null, { status: 500 }) : Response.json(body)
    },
  })
  const run = (...args: string[]) =>
    portcullis([...args, '--url', `http://127.0.0.1:${server.port}`], { env: { PORTCULLIS_API_KEY: 'pca_canned' } })
  return { asked, run, [Symbol.asyncDispose]: () => server.stop(true) }
}
