/** The first that is found names it: later ones call themselves by the earlier names as well. */
const BROWSERS: [pattern: RegExp, name: string][] = [
  [/\bEdgA?\/(\d+)/, 'Edge'],
  [/\bOPR\/(\d+)/, 'Opera'],
  [/\bFirefox\/(\d+)/, 'Firefox'],
  [/\bFxiOS\/(\d+)/, 'Firefox'],
  [/\b(?:Chrome|HeadlessChrome|CriOS)\/(\d+)/, 'Chrome'],
  [/\bVersion\/(\d+)\S* (?:Mobile\/\S+ )?Safari\//, 'Safari'],
]
const SYSTEMS: [pattern: RegExp, name: string][] = [
  [/\biPhone\b/, 'iPhone'],
  [/\biPad\b/, 'iPad'],
  [/\bAndroid\b/, 'Android'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bLinux\b/, 'Linux'],
]

const LONGEST = 60

/** What a browser calls itself, as people call it: "Firefox 140 on Linux". What is none of those is shown as it is. */
export const browserOf = (client: string | null): string => {
  if (client === null) return 'a browser that does not say which'
  const system = SYSTEMS.find(([pattern]) => pattern.test(client))?.[1]
  for (const [pattern, name] of BROWSERS) {
    const version = pattern.exec(client)?.[1]
    if (version) return system === undefined ? `${name} ${version}` : `${name} ${version} on ${system}`
  }
  return client.length > LONGEST ? `${client.slice(0, LONGEST - 1)}…` : client
}
