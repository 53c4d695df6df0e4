import { CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { errorLine, exitCodeOf, OutputError } from '../../src/cli/exitCodes.ts'
import { integer, number } from '../../src/cli/options.ts'
import { formatDuration } from '../../src/cli/terminal.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import type { ErrorCode } from '../../src/runtime/errors.ts'

describe('exitCodeOf', () => {
  it.each<[ErrorCode, number]>([
    ['usage', 2],
    ['input', 3],
    ['format', 4],
    ['device', 5],
    ['device-lost', 5],
    ['out-of-memory', 5],
    ['aborted', 130],
    ['validation', 1],
    ['disposed', 1],
    ['internal', 1],
  ])('%s → %i', (code, exit) => {
    expect(exitCodeOf(new KeeplightError(code, 'x'))).toBe(exit)
  })

  it('of other errors', () => {
    expect(exitCodeOf(new OutputError('x'))).toBe(6)
    expect(exitCodeOf(new TypeError('x'))).toBe(1)
    expect(exitCodeOf(new CommanderError(1, 'commander.unknownOption', 'x'))).toBe(2)
    expect(exitCodeOf(new CommanderError(0, 'commander.helpDisplayed', 'x'))).toBe(0)
  })
})

describe('errorLine', () => {
  it('is one line without control characters', () => {
    expect(errorLine(new KeeplightError('input', 'a\u001b[2J\nb.jpg: no'))).toBe(
      'keeplight: a [2J b.jpg: no',
    )
    expect(errorLine(new TypeError('x'))).toBe(
      'keeplight: unexpected error: TypeError: x (KEEPLIGHT_DEBUG=1 shows where)',
    )
  })
})

describe('numbers on the command line', () => {
  it('takes whole numbers in range', () => {
    expect(integer(2, 10)('7')).toBe(7)
    for (const text of ['1', '11', '2.5', '', 'x', '0x4', '1e1', 'Infinity']) {
      expect(() => integer(2, 10)(text)).toThrow('Expected a whole number from 2 to 10.')
    }
    expect(() => integer(2)('1')).toThrow('Expected a whole number of at least 2.')
  })

  it('takes finite numbers in range', () => {
    expect(number(0, 1)('0.25')).toBe(0.25)
    expect(number(0)('1e-3')).toBe(0.001)
    for (const text of ['-1', '2', '', ' ', 'NaN', 'x']) {
      expect(() => number(0, 1)(text)).toThrow('Expected a number from 0 to 1.')
    }
  })
})

describe('formatDuration', () => {
  it.each([
    [0.04, '0.0 s'],
    [9.94, '9.9 s'],
    [59.4, '59 s'],
    [60, '1 min 00 s'],
    [185, '3 min 05 s'],
    [3599.9, '1 h 00 min'],
    [7920, '2 h 12 min'],
  ])('%f s is %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text)
  })
})
