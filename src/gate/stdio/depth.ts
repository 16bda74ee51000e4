const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Where the text of JSON that begins at a quote ends; the end of all where it doesn't. */
const endOfText = (json: string, start: number): number => {
  for (let end = json.indexOf('"', start + 1); end !== -1; end = json.indexOf('"', end + 1)) {
    let escapes = 0
    while (json.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes += 1
    if (escapes % 2 === 0) return end
  }
  return json.length
}

/** Whether JSON is nested deeper than so: to write such a value anew takes seconds, in which nobody can be cut. */
export const isDeeper = (json: string, depthMax: number): boolean => {
  let depth = 0
  for (let at = 0; at < json.length; at += 1) {
    const code = json.charCodeAt(at)
    if (code === QUOTE) at = endOfText(json, at)
    // The bit between [ and {, and between ] and }, is the same: ASCII was made so.
    else if ((code | 0x20) === 0x7b) depth += 1
    else if ((code | 0x20) === 0x7d) depth -= 1
    if (depth > depthMax) return true
  }
  return false
}

const COMMA = 0x2c

/** Whether JSON holds more values than so, give or take the empty ones: each costs time to read, texts by length hardly any. */
export const hasMoreValues = (json: string, valuesMax: number): boolean => {
  let values = 1
  for (let at = 0; at < json.length && values <= valuesMax; at += 1) {
    const code = json.charCodeAt(at)
    if (code === QUOTE) at = endOfText(json, at)
    else if (code === COMMA || (code | 0x20) === 0x7b) values += 1
  }
  return values > valuesMax
}
