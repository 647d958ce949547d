// Writes triangle meshes as STL and GLB files.
//
// A mesh: { positions: Float32Array [n][3] in mm, normals: Float32Array [n][3], triangles: Uint32Array [m][3] },
// z up, triangles counter-clockwise seen from outside.

/** Binary STL. The format has no unit; its readers take the numbers as millimetres. */
export function toStl({ positions, triangles }) {
  const stl = Buffer.alloc(84 + 50 * (triangles.length / 3));
  stl.write("binary STL, millimetres");
  stl.writeUInt32LE(triangles.length / 3, 80);
  for (let t = 0, at = 84; t < triangles.length; t += 3, at += 50) {
    const corners = [0, 1, 2].map((k) => positions.subarray(3 * triangles[t + k], 3 * triangles[t + k] + 3));
    [facing(corners), ...corners].flatMap((v) => [...v]).forEach((value, i) => stl.writeFloatLE(value, at + 4 * i));
  }
  return stl;
}

function facing([a, b, c]) {
  const [u, v] = [b, c].map((p) => [p[0] - a[0], p[1] - a[1], p[2] - a[2]]);
  return unit([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]);
}

function unit(v) {
  const length = Math.hypot(...v);
  return length > 0 ? v.map((x) => x / length) : [0, 0, 1];
}

const material = { baseColorFactor: [0.62, 0.66, 0.7, 1], metallicFactor: 0.2, roughnessFactor: 0.6 };

const [FLOAT, UNSIGNED_INT, VERTICES, INDICES] = [5126, 5125, 34962, 34963];

/** glTF 2.0 in one binary file. glTF wants metres and y up, so the one node scales and turns the mesh. */
export function toGlb({ positions, normals, triangles }, name) {
  const parts = [positions, normals, triangles].map((a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength));
  const binary = Buffer.concat(parts); // All three have whole 4-byte elements, so each stays aligned.
  const count = positions.length / 3;
  const half = Math.SQRT1_2;
  const document = {
    asset: { version: "2.0", generator: "Quern example model" },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [{ name, mesh: 0, rotation: [-half, 0, 0, half], scale: [0.001, 0.001, 0.001] }],
    meshes: [{ name, primitives: [{ attributes: { POSITION: 0, NORMAL: 1 }, indices: 2, material: 0 }] }],
    materials: [{ pbrMetallicRoughness: material }],
    accessors: [
      { bufferView: 0, componentType: FLOAT, count, type: "VEC3", ...bounds(positions) },
      { bufferView: 1, componentType: FLOAT, count, type: "VEC3" },
      { bufferView: 2, componentType: UNSIGNED_INT, count: triangles.length, type: "SCALAR" },
    ],
    bufferViews: [
      { buffer: 0, byteOffset: 0, byteLength: parts[0].length, target: VERTICES },
      { buffer: 0, byteOffset: parts[0].length, byteLength: parts[1].length, target: VERTICES },
      { buffer: 0, byteOffset: parts[0].length + parts[1].length, byteLength: parts[2].length, target: INDICES },
    ],
    buffers: [{ byteLength: binary.length }],
  };

  const text = JSON.stringify(document);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 4) * 4)); // Chunks are multiples of 4 bytes.
  const head = Buffer.alloc(12);
  head.write("glTF");
  head.writeUInt32LE(2, 4);
  head.writeUInt32LE(12 + 8 + json.length + 8 + binary.length, 8);
  return Buffer.concat([head, chunkHead("JSON", json), json, chunkHead("BIN\0", binary), binary]);
}

function chunkHead(type, content) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(content.length);
  head.write(type, 4, "latin1");
  return head;
}

function bounds(positions) {
  const [min, max] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  positions.forEach((value, i) => {
    min[i % 3] = Math.min(min[i % 3], value);
    max[i % 3] = Math.max(max[i % 3], value);
  });
  return { min, max };
}
