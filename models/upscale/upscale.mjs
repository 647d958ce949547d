#!/usr/bin/env node
// Enlarges an image with ESRGAN-slim, a residual dense network trained for super-resolution that its
// npm package ships, on the WebAssembly backend of TensorFlow.js: no GPU and no native build needed.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm";
import { loadLayersModel } from "@tensorflow/tfjs-layers";
import { flatten, readImage, writeImage } from "../lib/image.mjs";
import { output, progress, serve } from "../lib/runner.mjs";

const PIXELS_MAX = 1024 * 1024;

// Images go through the network in tiles, which bounds the memory and gives the progress. Each tile sees
// MARGIN pixels of its neighbours; the network looks ten pixels far, so no seams appear.
const TILE = 192;
const MARGIN = 12;

async function loadNetwork(scale) {
  const folder = new URL(`./node_modules/@upscalerjs/esrgan-slim/models/x${scale}/`, import.meta.url);
  const { modelTopology, weightsManifest: [manifest] } = JSON.parse(await readFile(new URL("model.json", folder)));
  const bytes = await readFile(new URL(manifest.paths[0], folder));
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs: manifest.weights, weightData }));
}

function* tilesOf({ width, height }) {
  for (let y = 0; y < height; y += TILE) {
    for (let x = 0; x < width; x += TILE) {
      yield { x, y, width: Math.min(TILE, width - x), height: Math.min(TILE, height - y) };
    }
  }
}

/** The tile and its margin, cut at the image's borders. */
function widen(tile, image) {
  const [x, y] = [Math.max(0, tile.x - MARGIN), Math.max(0, tile.y - MARGIN)];
  const right = Math.min(image.width, tile.x + tile.width + MARGIN);
  const bottom = Math.min(image.height, tile.y + tile.height + MARGIN);
  return { x, y, width: right - x, height: bottom - y };
}

/**
 * rgba: [height, width, 4] int32, values 0 to 255.
 * Returns the part `tile`, enlarged, as [height * scale, width * scale, 4] uint8.
 */
function enlarge(network, scale, rgba, tile, image) {
  return tf.tidy(() => {
    const wide = widen(tile, image);
    const size = [wide.height * scale, wide.width * scale];
    const part = tf.cast(tf.slice(rgba, [wide.y, wide.x, 0], [wide.height, wide.width, 4]), "float32");
    const color = tf.squeeze(network.predict(tf.expandDims(tf.slice(part, [0, 0, 0], [-1, -1, 3]), 0)), [0]);
    const alpha = tf.image.resizeBilinear(tf.slice(part, [0, 0, 3], [-1, -1, 1]), size, false, true);
    const begin = [(tile.y - wide.y) * scale, (tile.x - wide.x) * scale, 0];
    const whole = tf.slice(tf.concat([color, alpha], 2), begin, [tile.height * scale, tile.width * scale, 4]);
    return Uint8ClampedArray.from(whole.dataSync());
  });
}

function paste(target, tile, scale, pixels) {
  const rowBytes = tile.width * scale * 4;
  for (let row = 0; row < tile.height * scale; row++) {
    const start = ((tile.y * scale + row) * target.width + tile.x * scale) * 4;
    target.pixels.set(pixels.subarray(row * rowBytes, (row + 1) * rowBytes), start);
  }
}

await serve(async ({ input: { image: path, scale, format }, output_dir }) => {
  const image = await readImage("image", path, { pixelsMax: PIXELS_MAX });
  if (format === "jpeg") flatten(image, 255);

  tf.enableProdMode();
  await tf.setBackend("wasm");
  const network = await loadNetwork(scale);
  const rgba = tf.tensor3d(image.pixels, [image.height, image.width, 4], "int32");

  const [width, height] = [image.width * scale, image.height * scale];
  const enlarged = { width, height, pixels: Buffer.alloc(width * height * 4) };
  const tiles = [...tilesOf(image)];
  for (const [done, tile] of tiles.entries()) {
    progress(done / tiles.length);
    paste(enlarged, tile, scale, enlarge(network, scale, rgba, tile, image));
  }

  const file = format === "jpeg" ? "upscaled.jpg" : "upscaled.png";
  await writeImage(join(output_dir, file), enlarged);
  progress(1);
  output({ type: "image", path: file, metadata: { scale } });
});
