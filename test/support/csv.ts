/** The records of a CSV text as RFC 4180 has it; throws for what it does not allow. */
export const readCsv = (text: string): string[][] => {
  const records: string[][] = []
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy
  let record: string[] = []
  while (cell.lastIndex < text.length) {
    const at = cell.lastIndex
    const found = cell.exec(text)
    if (!found) throw new Error(`no CSV at ${at}: ${JSON.stringify(text.slice(at, at + 80))}`)
    record.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '')
    if (found[3] === ',') continue
    records.push(record)
    record = []
  }
  if (record.length > 0) throw new Error('the last record has no line end')
  return records
}

/** The same by the names in the first record. */
export const readCsvRows = (text: string): Record<string, string>[] => {
  const [head = [], ...records] = readCsv(text)
  return records.map((record) => {
    if (record.length !== head.length) throw new Error(`${record.length} cells, not ${head.length}: ${record.join()}`)
    return Object.fromEntries(head.map((name, index) => [name, record[index] ?? '']))
  })
}
