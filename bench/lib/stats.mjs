// Medians of what was measured again and again, and figures as people read them.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * How many times `base` the `values` are: the median over pairs that were measured shortly one after the other. The
 * machine changes more from pair to pair than within one.
 */
export function ratio_to(values, base) {
  if (values.length !== base.length) throw new Error(`${values.length} values cannot be compared with ${base.length}`);
  return median(values.map((value, i) => value / base[i]));
}

/** What was measured again and again, in one value: {median, low, high}. */
export const summary = (values) => ({
  median: median(values),
  low: Math.min(...values),
  high: Math.max(...values),
});

/** 83412 -> "83,400": three digits that count, the rest is noise. */
export function round_count(value) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))) - 2);
  return (Math.round(value / unit) * unit).toLocaleString("en-US");
}

export const ratio = (value) => value.toFixed(2);
export const milliseconds = (value) => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
export const mebibytes = (bytes) => `${round_count(bytes / 1048576)} MiB`;
