// Who comes first: not always the same, since the machine gives less to what comes last.

/** The items from the `turn`-th on, then those before it. */
export function rotated(items, turn) {
  const at = turn % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

/** Runs both, one after the other, and on even turns the second first. Answers what they gave: [first, second]. */
export async function both_ways(turn, first, second) {
  if (turn % 2 === 1) return [await first(), await second()];
  const of_second = await second();
  return [await first(), of_second];
}
