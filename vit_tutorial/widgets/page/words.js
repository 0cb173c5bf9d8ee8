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

// Numbers as people write them: 3 digits that count.
export function digits(number) {
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const size = Math.abs(number);
  if (size && (size >= 1e5 || size < 1e-3)) {
    const [mantissa, exponent] = number.toExponential(1).split("e");
    const raised = [...String(Number(exponent))]
      .map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]))
      .join("");
    return `${mantissa} · 10${raised}`.replace("-", "−");
  }
  const decimals =
    size >= 100 || !size
      ? 0
      : size >= 10
        ? 1
        : size >= 1
          ? 2
          : size >= 0.1
            ? 3
            : 4;
  return number.toFixed(decimals).replace("-", "−");
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
