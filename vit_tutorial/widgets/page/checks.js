// A whole number from 0 to count - 1, or a RangeError that names it: what comes
// from a link or a kernel is checked where it comes in.
export function within(name, value, count) {
  if (!Number.isInteger(value) || value < 0 || value >= count) {
    throw new RangeError(`${name} is one of 0 to ${count - 1}, got ${value}`);
  }
  return value;
}
