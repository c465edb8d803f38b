"""Which of these belongs to which of those, so that the whole costs least."""

from collections.abc import Sequence


def cheapest_assignment(costs: Sequence[Sequence[int]]) -> list[int]:
    """Return for each row of a square matrix its column, such that the sum is least (Hungarian method, O(n³)).

    Example:
        >>> cheapest_assignment([[4, 1], [2, 8]])
        [1, 0]
    """
    n = len(costs)
    row_potential, column_potential = [0] * (n + 1), [0] * (n + 1)
    row_of = [0] * (n + 1)  # row assigned to each column, both from 1; column 0 holds the row being placed
    for row in range(1, n + 1):
        row_of[0], column = row, 0
        least: list[float] = [float("inf")] * (n + 1)
        came_from, used = [0] * (n + 1), [False] * (n + 1)
        while row_of[column]:
            used[column] = True
            current, following, delta = row_of[column], 0, float("inf")
            for j in range(1, n + 1):
                if used[j]:
                    continue
                reduced = costs[current - 1][j - 1] - row_potential[current] - column_potential[j]
                if reduced < least[j]:
                    least[j], came_from[j] = reduced, column
                if least[j] < delta:
                    delta, following = least[j], j
            _shift(used, row_of, row_potential, column_potential, least, int(delta))
            column = following
        while column:
            row_of[column], column = row_of[came_from[column]], came_from[column]
    columns = [0] * n
    for j in range(1, n + 1):
        columns[row_of[j] - 1] = j - 1
    return columns


def _shift(
    used: list[bool],
    row_of: list[int],
    row_potential: list[int],
    column_potential: list[int],
    least: list[float],
    delta: int,
) -> None:
    for j, is_used in enumerate(used):
        if is_used:
            row_potential[row_of[j]] += delta
            column_potential[j] -= delta
        else:
            least[j] -= delta
