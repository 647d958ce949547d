// Checks GLB and STL files, given as arguments, as a strict reader would: their structure, and that the
// surface is closed. An STL edge must be used as often in one direction as in the other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

function checkGlb(file) {
  assert.equal(file.toString("latin1", 0, 4), "glTF");
  assert.equal(file.readUInt32LE(4), 2, "version");
  assert.equal(file.readUInt32LE(8), file.length, "total length");
  const jsonLength = file.readUInt32LE(12);
  assert.equal(file.toString("latin1", 16, 20), "JSON");
  const { accessors, buffers } = JSON.parse(file.toString("utf8", 20, 20 + jsonLength));
  const binary = 20 + jsonLength;
  assert.equal(file.toString("latin1", binary + 4, binary + 8), "BIN\0");
  assert.equal(file.readUInt32LE(binary), buffers[0].byteLength);
  assert.equal(binary + 8 + buffers[0].byteLength, file.length);

  const [positions, normals, indices] = accessors;
  assert.ok(indices.count > 0 && indices.count % 3 === 0);
  assert.equal(buffers[0].byteLength, 12 * positions.count + 12 * normals.count + 4 * indices.count);
  const start = file.length - 4 * indices.count;
  for (let i = 0; i < indices.count; i++) assert.ok(file.readUInt32LE(start + 4 * i) < positions.count);
}

function checkStl(file) {
  const triangles = file.readUInt32LE(80);
  assert.ok(triangles > 0);
  assert.equal(file.length, 84 + 50 * triangles);
  const balance = new Map();
  const count = (edge, by) => balance.set(edge, (balance.get(edge) ?? 0) + by);
  for (let t = 0; t < triangles; t++) {
    const [a, b, c] = [12, 24, 36].map((at) => file.toString("hex", 84 + 50 * t + at, 84 + 50 * t + at + 12));
    for (const [from, to] of [[a, b], [b, c], [c, a]]) {
      count(from + to, 1);
      count(to + from, -1);
    }
  }
  assert.ok([...balance.values()].every((value) => value === 0), "the surface has holes");
}

for (const path of process.argv.slice(2)) {
  (path.endsWith(".glb") ? checkGlb : checkStl)(readFileSync(path));
}
