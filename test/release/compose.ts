interface Service {
  image?: string
  ports?: unknown[]
  networks?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  restart?: string
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  [key: string]: unknown
}
interface Compose {
  services: Record<string, Service>
  networks?: Record<string, { internal?: boolean } | null>
  volumes?: Record<string, unknown>
  [key: string]: unknown
}

const KNOWN = {
  top: ['name', 'services', 'networks', 'volumes'],
  service: [
    ...['image', 'build', 'restart', 'ports', 'environment', 'volumes', 'networks', 'extra_hosts'],
    ...['read_only', 'tmpfs', 'cap_drop', 'security_opt', 'stop_grace_period', 'healthcheck', 'ulimits'],
  ],
}
const SECRET = /(?:SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY)/i

type Rule = (compose: Compose) => string[]

const services = ({ services }: Compose) => Object.entries(services)
const which = (compose: Compose, wrong: (service: Service) => boolean) =>
  services(compose).flatMap(([name, service]) => (wrong(service) ? [name] : []))

/** What a compose file must keep to; each rule answers with what doesn't. Unknown keys are refused, `privileged` with them. */
export const COMPOSE_RULES: Record<string, Rule> = {
  'keys are known': (compose) => [
    ...Object.keys(compose).filter((key) => !KNOWN.top.includes(key)),
    ...services(compose).flatMap(([name, service]) =>
      Object.keys(service)
        .filter((key) => !KNOWN.service.includes(key))
        .map((key) => `${name}.${key}`),
    ),
  ],
  'images are exact versions': (compose) => which(compose, ({ image }) => !/:[\w-]*\d+\.\d+\.\d+/.test(image ?? '')),
  'ports are of this machine alone': (compose) =>
    which(compose, ({ ports = [] }) => ports.some((port) => !String(port).startsWith('127.0.0.1:'))),
  'networks and volumes are declared': (compose) =>
    services(compose).flatMap(([, { networks = [], volumes = [] }]) => [
      ...networks.filter((network) => !(network in (compose.networks ?? {}))),
      ...volumes.map((volume) => volume.split(':')[0] ?? '').filter((volume) => !(volume in (compose.volumes ?? {}))),
    ]),
  'nothing is mounted from the machine': (compose) =>
    which(compose, ({ volumes = [] }) => volumes.some((volume) => /^[./~]/.test(volume))),
  'only the gate has a way out and ports': (compose) =>
    services(compose).flatMap(([name, { networks = ['default'], ports }]) => {
      const open = networks.some((network) => !compose.networks?.[network]?.internal)
      return name !== 'portcullis' && (open || ports) ? [name] : []
    }),
  'it comes back after a restart': (compose) => which(compose, ({ restart }) => restart !== 'unless-stopped'),
  'nothing can be gained or written': (compose) =>
    which(
      compose,
      ({ read_only, cap_drop = [], security_opt = [] }) =>
        !(read_only === true && cap_drop.includes('ALL') && security_opt.includes('no-new-privileges:true')),
    ),
  'secrets are not in it': (compose) =>
    which(compose, ({ environment = {} }) => Object.keys(environment).some((name) => SECRET.test(name))),
}

export const brokenCompose = (text: string): string[] => {
  const compose = Bun.YAML.parse(text) as Compose
  return Object.entries(COMPOSE_RULES).flatMap(([what, rule]) => rule(compose).map((where) => `${what}: ${where}`))
}
