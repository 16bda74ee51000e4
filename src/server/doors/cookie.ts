const NAME = 'portcullis_session'

/** The secret of a session in a request's cookies. */
export const sessionCookie = (headers: Headers): string | null => {
  const pair = headers
    .get('cookie')
    ?.split(';')
    .map((part) => part.trim())
    .find((part) => part.startsWith(`${NAME}=`))
  return pair ? pair.slice(NAME.length + 1) : null
}

/** `Strict`: no other site's link or form carries it. Null as secret takes the cookie away. */
export const setSessionCookie = (secret: string | null, secure: boolean): string =>
  `${NAME}=${secret ?? ''}; Path=/; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}${secret === null ? '; Max-Age=0' : ''}`
