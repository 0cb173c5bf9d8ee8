"""The order that a seed stands for, the same in a page and in Python."""

SEEDS = 2**31


def shuffled(n: int, seed: int) -> list[int]:
    """Order the numbers from 0 to n - 1 as `shuffled` of shuffle.js
    does; 0: in order."""
    order = list(range(n))
    if seed == 0:
        return order
    state = seed
    for i in range(
        n - 1, 0, -1
    ):  # Fisher and Yates, with the random numbers of mulberry32
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ state >> 15) * (state | 1)) & 0xFFFFFFFF
        t ^= (t + (t ^ t >> 7) * (t | 61)) & 0xFFFFFFFF
        j = (t ^ t >> 14) * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return order
