/** Files that a bundle carries as text. */
declare module '*.css' {
  const text: string
  export default text
}

declare module '*/app.js' {
  const text: string
  export default text
}

declare module 'htmx.org/dist/htmx.min.js' {
  const text: string
  export default text
}

declare module '*.svg' {
  const text: string
  export default text
}
