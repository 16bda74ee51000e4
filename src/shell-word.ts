/** A word as a shell takes it. */
export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

/** A command line that a shell would read as these very words. */
export const shellWords = (words: readonly string[]): string => words.map(shellWord).join(' ')
