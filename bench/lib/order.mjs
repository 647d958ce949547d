// The machine changes from one second to the next, and gives less to what comes last. So what is compared is
// measured a second at a time in turn, and who comes first changes.

/** The items from the `turn`-th on, then those before it. */
export function rotated(items, turn) {
  const at = turn % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

/** `measure(it)` measures one of `items` for a second. Each is, `seconds` times; answers what each second gave, in the items' order. */
export async function in_turn(items, seconds, turn, measure) {
  const values = new Map(items.map((it) => [it, []]));
  for (let slice = 0; slice < Math.max(1, seconds); ++slice) {
    for (const it of rotated(items, slice + turn)) values.get(it).push(await measure(it));
  }
  return items.map((it) => values.get(it));
}
