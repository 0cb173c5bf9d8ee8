// Tokens, places and numbers in words.

export function nameOf(token, prefix) {
  return token < prefix ? "the class token" : `patch ${token - prefix + 1}`;
}

// Where a patch, or its position, is, in a grid of so many columns.
export function whereIs(place, columns, what = "patch") {
  const [row, column] = [Math.floor(place / columns), place % columns];
  return `${what} ${place + 1}, row ${row + 1}, column ${column + 1}`;
}

// A name at the beginning of a sentence.
export function capitalised(name) {
  return name.replace(/^./, (letter) => letter.toUpperCase());
}

// A number that people set, without zeros at its end.
export function setting(number) {
  return String(Number(number.toFixed(2)));
}

// A large whole number, its digits in threes.
export function grouped(number) {
  return number.toLocaleString("en");
}

export function percent(share) {
  return `${(100 * share).toFixed(share >= 0.0995 || share === 0 ? 0 : 1)}%`;
}
