#!/usr/bin/env node
// Reads the text in an image with Tesseract.

import { flatten, readImage } from "../lib/image.mjs";
import { log, mustRun, output, progress, serve } from "../lib/runner.mjs";

const PIXELS_MAX = 40_000_000;

// Tesseract's page segmentation modes.
const layouts = { auto: "3", column: "4", block: "6", line: "7", word: "8", sparse: "11" };

/** The image in shades of grey on white paper, as a PGM file: the simplest format Tesseract reads. */
function toPgm(image) {
  flatten(image, 255);
  const { width, height, pixels } = image;
  const grey = Buffer.alloc(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (pixels[4 * i] * 77 + pixels[4 * i + 1] * 151 + pixels[4 * i + 2] * 28) >> 8;
  }
  return Buffer.concat([Buffer.from(`P5 ${width} ${height} 255\n`), grey]);
}

/** Tesseract's table of words -> { text, words, confidence: mean of the words' confidences, 0 to 100 }. */
function readTable(table) {
  const [header, ...rows] = table.trimEnd().split("\n").map((row) => row.split("\t"));
  const column = Object.fromEntries(header.map((name, index) => [name, index]));
  const words = rows.filter((row) => row[column.level] === "5" && row[column.text].trim() !== "");

  const lines = [];
  let last = {};
  for (const row of words) {
    const [block, paragraph, line] = ["block_num", "par_num", "line_num"].map((name) => row[column[name]]);
    const isNewParagraph = block !== last.block || paragraph !== last.paragraph;
    if (isNewParagraph && lines.length > 0) lines.push([]);
    if (isNewParagraph || line !== last.line) lines.push([]);
    lines[lines.length - 1].push(row[column.text]);
    last = { block, paragraph, line };
  }

  const sum = words.reduce((total, row) => total + Number(row[column.conf]), 0);
  return {
    text: lines.map((line) => line.join(" ")).join("\n"),
    words: words.length,
    confidence: words.length === 0 ? 0 : Math.round((sum / words.length) * 10) / 10,
  };
}

// Tesseract's threads wait for each other busily: with one, a page takes a fraction of the time.
process.env.OMP_THREAD_LIMIT = "1";

await serve(async ({ input }) => {
  const image = await readImage("image", input.image, { pixelsMax: PIXELS_MAX });
  progress(0.1);
  const args = ["stdin", "stdout", "-l", input.language, "--psm", layouts[input.layout], "tsv"];
  const { stdout } = await mustRun("tesseract", args, { input: toPgm(image) });
  const { text, words, confidence } = readTable(stdout.toString("utf8"));
  if (words === 0) log("No text was found", "WARN");
  output({ type: "text", text, metadata: { language: input.language, words, confidence } });
});
