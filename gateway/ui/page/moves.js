// How documents moved from the order in which they came.

export const ROW = 64;
/* Height of a result in pixels; playground.css has the same, so that lines and rows meet. */

export const WIDTH = 56;

/** A line for each result from its row among those that came, or from below the last, to its own: [{index, path, direction}]. */
export function lines(results, rows) {
  return results.map((result, rank) => {
    const from = Math.min(result.index + 0.5, rows) * ROW;
    const to = (rank + 0.5) * ROW;
    const middle = WIDTH / 2;
    return {
      index: result.index,
      path: `M0 ${from} C${middle} ${from} ${middle} ${to} ${WIDTH} ${to}`,
      direction: direction(result.index - rank),
    };
  });
}

export function direction(move) {
  return move > 0 ? "up" : move < 0 ? "down" : "same";
}

/** As people say it, for those who do not see the lines. */
export function sentence(move, index) {
  const place = `it came as number ${index + 1}`;
  if (move === 0) return `stays where it was: ${place}`;
  return `${Math.abs(move)} ${move > 0 ? "up" : "down"}: ${place}`;
}
