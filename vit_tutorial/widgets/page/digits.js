// Measured numbers in a few digits.

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
