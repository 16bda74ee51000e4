/** @jsxImportSource hono/jsx */

/** Drawn on 16 × 16, stroked in the colour of the text around them. */
const PATHS = {
  brand: 'M2.5 14V6a5.5 5.5 0 0 1 11 0v8M5.8 2v12M10.2 2v12M2.5 6.5h11M2.5 10.5h11',
  overview: 'M2 12.5 6 8l3 3 5-6.5',
  tokens: 'M9.5 6.5a3.5 3.5 0 1 1-3-3.5M7.5 8.5 2.5 13.5M4.5 11.5l2 2M9.5 6.5 14 2',
  connections: 'M2 8h3l2-5 3 10 2-5h2',
  servers: 'M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01',
  revocations: 'M8 2v6M4.5 4a5.5 5.5 0 1 0 7 0',
  audit: 'M4 2.5h8v11H4zM6 5.5h4M6 8h4M6 10.5h2',
  access: 'M8 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM3 13.5a5 5 0 0 1 10 0',
  cluster:
    'M8 5.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM3.5 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM12.5 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM7 5.3 4.5 10.2M9 5.3l2.5 4.9M5.5 12h5',
  node: 'M8 2l5.2 3v6L8 14l-5.2-3V5zM8 8l5.2-3M8 8v6M8 8 2.8 5',
  find: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.5 14 14',
  menu: 'M2 4h12M2 8h12M2 12h12',
  panic: 'M8 2 14.5 13.5h-13zM8 6.5v3.5M8 11.8h.01',
}

export type IconName = keyof typeof PATHS

export const Icon = ({ name }: { name: IconName }) => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    <path d={PATHS[name]} />
  </svg>
)
