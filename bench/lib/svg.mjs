// Just enough SVG for the two plots: bars beside each other's names, and lines over a common axis.

const font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"';
const ink = "#1f2933";
const faint = "#7b8794";
const grid = "#e4e7eb";
export const accent = "#2563b8";
export const neutral = "#9aa5b1";

const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const n = (value) => String(Math.round(value * 10) / 10);

function text(x, y, words, { size = 13, fill = ink, anchor = "start", weight = 400 } = {}) {
  const place = `x="${n(x)}" y="${n(y)}" font-size="${size}" fill="${fill}"`;
  return `<text ${place} text-anchor="${anchor}" font-weight="${weight}">${escape(words)}</text>`;
}

const line = (x1, y1, x2, y2) =>
  `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" stroke="${grid}" stroke-width="1"/>`;

/** A whole picture; its words are also there for readers who do not see it. */
function picture({ width, height, title, subtitle, parts }) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ${font}>`,
    `<title>${escape(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#ffffff"/>`,
    text(24, 36, title, { size: 18, weight: 600 }),
    text(24, 57, subtitle, { fill: faint }),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

const bars = { top: 84, left: 210, right: 110, height: 22, gap: 8, panel_gap: 34 };

/**
 * Panels under each other, each with one horizontal bar a row on a scale of its own.
 * @param {{panels: {title: string, rows: {label: string, value: number, words: string, strong: boolean}[]}[]}} plot
 */
export function bar_plot({ title, subtitle, panels, width = 760 }) {
  const parts = [];
  let y = bars.top;
  for (const panel of panels) {
    const widest = Math.max(...panel.rows.map((row) => row.value));
    parts.push(text(24, y + 10, panel.title, { size: 14, weight: 600 }));
    y += 24;
    for (const row of panel.rows) {
      const length = Math.max(1, (row.value / widest) * (width - bars.left - bars.right));
      const middle = y + bars.height / 2 + 4.5;
      const weight = row.strong ? 600 : 400;
      parts.push(
        text(bars.left - 10, middle, row.label, { anchor: "end", weight }),
        `<rect x="${bars.left}" y="${y}" width="${n(length)}" height="${bars.height}" rx="2" fill="${row.strong ? accent : neutral}"/>`,
        text(bars.left + length + 8, middle, row.words, { weight }),
      );
      y += bars.height + bars.gap;
    }
    y += bars.panel_gap - bars.gap;
  }
  return picture({ width, height: y, title, subtitle, parts });
}

/** Steps of 1, 2, 2.5 or 5 times a power of ten that divide [0, top] into at most `count` parts. */
function ticks(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
}

const short = (value) => {
  if (value >= 1e6) return `${Number((value / 1e6).toFixed(1))} M`;
  return value >= 1e3 ? `${Number((value / 1e3).toFixed(1))} k` : String(Number(value.toFixed(1)));
};

const lines = { top: 84, left: 76, right: 130, height: 150, gap: 62 };

/**
 * Panels under each other over one axis, each with lines that begin at zero on theirs.
 * @param {{x_title: string, panels: {title: string, series: {label: string, points: [number, number][], strong: boolean}[]}[]}} plot
 */
export function line_plot({ title, subtitle, x_title, panels, width = 760 }) {
  const inner = width - lines.left - lines.right;
  const x_top = Math.max(...panels.flatMap((panel) => panel.series.flatMap((s) => s.points.map(([x]) => x))));
  const at_x = (x) => lines.left + (x / x_top) * inner;
  const parts = [];
  let y = lines.top;
  for (const panel of panels) {
    const y_top = Math.max(...panel.series.flatMap((s) => s.points.map(([, value]) => value))) * 1.1;
    const base = y + 18 + lines.height;
    const at_y = (value) => base - (value / y_top) * lines.height;
    parts.push(text(24, y + 2, panel.title, { size: 14, weight: 600 }));
    for (const tick of ticks(y_top, 4)) {
      parts.push(line(lines.left, at_y(tick), lines.left + inner, at_y(tick)));
      parts.push(text(lines.left - 8, at_y(tick) + 4, short(tick), { size: 12, fill: faint, anchor: "end" }));
    }
    for (const tick of ticks(x_top, 8)) {
      parts.push(text(at_x(tick), base + 18, short(tick), { size: 12, fill: faint, anchor: "middle" }));
    }
    for (const { label, points, strong } of panel.series) {
      const color = strong ? accent : neutral;
      const path = points.map(([x, value]) => `${n(at_x(x))},${n(at_y(value))}`).join(" ");
      const [end_x, end_y] = points.at(-1);
      parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2.5" stroke-linejoin="round"/>`);
      parts.push(`<circle cx="${n(at_x(end_x))}" cy="${n(at_y(end_y))}" r="3.5" fill="${color}"/>`);
      parts.push(text(at_x(end_x) + 10, at_y(end_y) + 4.5, label, { fill: color, weight: 600 }));
    }
    y = base + lines.gap;
  }
  parts.push(text(lines.left + inner / 2, y - lines.gap + 40, x_title, { fill: faint, anchor: "middle" }));
  return picture({ width, height: y, title, subtitle, parts });
}
