#!/usr/bin/env node
// Parametric parts for printing or viewing, made by the constructive solid geometry of Manifold.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import loadManifold from "manifold-3d";
import { output, progress, serve, TaskError } from "../lib/runner.mjs";
import { toGlb, toStl } from "./mesh_files.mjs";
import { makeShapes } from "./shapes.mjs";

const SHARP_EDGE_DEGREES = 25; // Edges bent less than this look round.

/** Splits Manifold's rows of x, y, z, nx, ny, nz. */
function toMesh(solid) {
  const { vertProperties, numProp, triVerts } = solid.calculateNormals(0, SHARP_EDGE_DEGREES).getMesh();
  const count = vertProperties.length / numProp;
  const [positions, normals] = [new Float32Array(3 * count), new Float32Array(3 * count)];
  for (let i = 0; i < count; i++) {
    const row = vertProperties.subarray(i * numProp, (i + 1) * numProp);
    positions.set(row.subarray(0, 3), 3 * i);
    normals.set(row.subarray(3, 6), 3 * i);
  }
  return { positions, normals, triangles: triVerts };
}

await serve(async ({ input, output_dir }) => {
  const geometry = await loadManifold();
  geometry.setup();
  progress(0.2);

  const solid = makeShapes(geometry)[input.shape](input);
  if (solid.status() !== "NoError" || solid.isEmpty()) throw new TaskError("These dimensions give no solid");
  progress(0.7);

  const mesh = toMesh(solid);
  const file = `${input.shape}.${input.format}`;
  await writeFile(join(output_dir, file), input.format === "stl" ? toStl(mesh) : toGlb(mesh, input.shape));
  progress(1);

  const { min, max } = solid.boundingBox();
  const round = (value) => Math.round(value * 100) / 100;
  const size_mm = max.map((value, axis) => round(value - min[axis]));
  const facts = { size_mm, volume_mm3: round(solid.volume()), triangles: mesh.triangles.length / 3 };
  output({ type: "model3d", path: file, metadata: facts });
});
