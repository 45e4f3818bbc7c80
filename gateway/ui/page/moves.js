// How documents moved from the order in which they came.

export const ROW = 64;
/* Height of a result in pixels; playground.css has the same, so that lines and rows meet. */

export const WIDTH = 56;

/** A line from where each shown document stood to where it stands: [{index, path, direction}]. */
export function lines(results, count) {
  const height = results.length * ROW;
  return results.map((result, rank) => {
    const from = ((result.index + 0.5) / count) * height;
    const to = (rank + 0.5) * ROW;
    const middle = WIDTH / 2;
    return {
      index: result.index,
      path: `M0 ${from.toFixed(1)} C${middle} ${from.toFixed(1)} ${middle} ${to.toFixed(1)} ${WIDTH} ${to.toFixed(1)}`,
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
