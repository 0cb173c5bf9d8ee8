"""The order that a seed stands for, the same in a page (shuffle.js) and in
Python."""

SEEDS = 2**31


def random_numbers(seed: int, count: int) -> list[float]:
    """Draw `count` numbers in [0, 1), by mulberry32."""
    numbers = []
    state = seed
    for _ in range(count):
        state = (state + 0x6D2B79F5) % 2**32
        t = (state ^ state >> 15) * (state | 1) % 2**32
        t ^= (t + (t ^ t >> 7) * (t | 61)) % 2**32
        numbers.append((t ^ t >> 14) / 2**32)
    return numbers


def shuffled(n: int, seed: int) -> list[int]:
    """Return 0 to n - 1 in the order of Fisher and Yates; seed 0: in theirs."""
    order = list(range(n))
    if seed == 0:
        return order
    last = range(n - 1, 0, -1)
    for i, number in zip(last, random_numbers(seed, n - 1), strict=True):
        j = int(number * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order
