import type { Page } from 'playwright-core'
import type { World } from './world.ts'

export interface SweptPage {
  /** Names its screenshots. */
  title: string
  path: string
  /** Brings the page to what is to be seen. */
  ready?(page: Page): Promise<unknown>
}

const openPalette = async (page: Page, text: string) => {
  await page.keyboard.press('Control+k')
  await page.locator('#find').fill(text)
  await page.locator('#found [aria-selected=true]').waitFor()
}

/** Every page of the console: what is true of all of them is tested by a walk through these. */
export const sweep = ({ ids }: World): SweptPage[] => [
  { title: 'overview', path: '/' },
  { title: 'palette', path: '/', ready: (page) => openPalette(page, 'c') },
  { title: 'find', path: '/find' },
  { title: 'tokens', path: '/tokens?state=all' },
  { title: 'tokens-filtered', path: '/tokens?subject=ada%40example.com&q=cursor' },
  { title: 'tokens-nothing', path: '/tokens?q=nothing-is-called-so' },
  { title: 'token-new', path: '/tokens/new' },
  { title: 'token-connect', path: `/tokens/${ids.busy}/connect` },
  { title: 'token-rotate', path: `/tokens/${ids.rotated}/rotations/new` },
  { title: 'token-policy', path: `/tokens/${ids.busy}/policy` },
  { title: 'connections', path: '/connections' },
  { title: 'connection-kill', path: '/connections/c1/kill' },
  { title: 'connections-nothing', path: '/connections?q=nothing-is-called-so' },
  { title: 'token', path: `/tokens/${ids.busy}` },
  { title: 'token-rotated', path: `/tokens/${ids.rotated}` },
  { title: 'token-dead', path: `/tokens/${ids.dead}` },
  { title: 'revoke', path: `/revocations/new?token=${ids.busy}` },
  { title: 'revoke-several', path: '/revocations/new?server=github' },
  { title: 'revoke-nothing', path: `/revocations/new?token=${ids.dead}` },
  { title: 'revocation-new', path: '/revocations/new' },
  { title: 'revocations', path: '/revocations' },
  { title: 'receipt', path: `/revocations/${ids.revocation}` },
  { title: 'receipt-several', path: `/revocations/${ids.several}` },
  { title: 'audit', path: '/audit' },
  { title: 'audit-filtered', path: '/audit?action=token.&since=24h' },
  { title: 'audit-nothing', path: '/audit?target=nobody-is-called-so' },
  { title: 'audit-row', path: '/audit/5' },
  { title: 'servers', path: '/servers' },
  { title: 'servers-nothing', path: '/servers?q=nothing-is-called-so' },
  { title: 'server', path: '/servers/github' },
  { title: 'server-closed', path: '/servers/filesystem' },
  { title: 'server-new', path: '/servers/new' },
  { title: 'command', path: '/servers/project-files' },
  { title: 'command-crashed', path: '/servers/weather', ready: (page) => page.locator('#stderr summary').click() },
  { title: 'command-new', path: '/servers/new/command' },
  { title: 'command-edit', path: '/servers/project-files/edit' },
  { title: 'server-edit', path: '/servers/filesystem/edit' },
  { title: 'server-close', path: '/servers/github/gate?state=closed' },
  { title: 'server-open', path: '/servers/filesystem/gate?state=open' },
  { title: 'server-kill', path: '/servers/github/kill' },
  { title: 'server-removal', path: '/servers/github/removal' },
  { title: 'gate-close', path: '/gate?state=closed' },
  { title: 'gate-open', path: '/gate?state=open' },
  { title: 'access', path: '/access' },
  { title: 'access-sessions', path: '/access/sessions' },
  { title: 'operator-new', path: '/access/operators/new' },
  { title: 'operator-link', path: `/access/operators/${ids.person}/link` },
  { title: 'operator-removal', path: `/access/operators/${ids.person}/removal` },
  { title: 'api-key-new', path: '/access/keys/new' },
  { title: 'api-key-removal', path: `/access/keys/${ids.apiKey}/removal` },
  { title: 'cluster', path: '/cluster' },
  { title: 'cluster-ticket', path: '/cluster/tickets/new' },
  { title: 'node', path: '/node' },
  { title: 'ring-rotate', path: '/node/keys/new' },
  { title: 'ring-removal', path: `/node/keys/${ids.oldKey}/removal` },
  { title: 'not-found', path: '/nothing' },
]
