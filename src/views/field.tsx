/** @jsxImportSource hono/jsx */

/** What was typed into a form, what is wrong with it by field, and the first field to look at. */
export interface Filled<T> {
  typed: T
  failures: { [K in keyof T]?: string }
  /** Null: none of them. */
  focus: string | null
}

export const Wrong = ({ id, failure }: { id: string; failure: string | undefined }) =>
  failure === undefined ? null : (
    <p id={id} class="wrong">
      {failure}
    </p>
  )

interface FieldProps<K extends string> {
  name: K
  label: string
  hint: string
  filled: Filled<NoInfer<Record<K, string>>>
  required?: boolean
  /** How a telephone's keyboard should look. */
  inputmode?: 'numeric' | 'url'
}

/** A line of text; what is wrong with it stands beside it, and is read out with it. */
export const Field = <K extends string>({ name, label, hint, filled, required, inputmode }: FieldProps<K>) => {
  const { typed, failures, focus } = filled
  const failure = failures[name]
  return (
    <>
      <label>
        {label}
        <input
          name={name}
          value={typed[name]}
          required={required}
          inputmode={inputmode}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          autofocus={focus === name}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? `${name}-hint ${name}-wrong` : `${name}-hint`}
        />
      </label>
      <p id={`${name}-hint`} class="hint">
        {hint}
      </p>
      <Wrong id={`${name}-wrong`} failure={failure} />
    </>
  )
}
