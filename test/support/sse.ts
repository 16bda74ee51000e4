export type SseEvent = { event: string; data: string; id: string | null }

/** The events of a stream, as a browser would read them; comments and an unfinished last one are left out. */
export const parseEvents = (text: string): SseEvent[] =>
  text
    .replace(/^\uFEFF/, '')
    .replaceAll(/\r\n|\r/g, '\n')
    .split('\n\n')
    .slice(0, -1)
    .map((block) => {
      const fields = block.split('\n').map((line) => /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [])
      const valuesOf = (name: string) => fields.filter(([, key]) => key === name).map(([, , value = '']) => value)
      return {
        event: valuesOf('event').at(-1) ?? 'message',
        data: valuesOf('data').join('\n'),
        id: valuesOf('id').at(-1) ?? null,
      }
    })
    .filter(({ data }) => data !== '')
