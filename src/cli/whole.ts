import { InvalidArgumentError } from 'commander'

/** A flag's whole number from 1 on. */
export const whole = (text: string): number => {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return Number(text)
}
