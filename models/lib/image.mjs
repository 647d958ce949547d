// Reads an image that a caller sent, whatever it really is.
//
// The format is decided by the first bytes and ffmpeg is told to read just that one: left to guess, it would
// also open playlists and other files that name further files to read.

import { open } from "node:fs/promises";
import { mustRun, reject, run } from "./runner.mjs";

const isAt = (offset, text) => (head) => head.toString("latin1", offset, offset + text.length) === text;

// ffmpeg patches over holes in a damaged JPEG unless told to give up; the other decoders fail by themselves.
const formats = [
  { is: isAt(0, "\x89PNG\r\n"), args: ["-f", "png_pipe"] },
  { is: isAt(0, "\xff\xd8\xff"), args: ["-err_detect", "explode", "-f", "jpeg_pipe"] },
  { is: isAt(8, "WEBP"), args: ["-f", "webp_pipe"] },
  { is: isAt(0, "GIF8"), args: ["-f", "gif_pipe"] },
  { is: isAt(0, "BM"), args: ["-f", "bmp_pipe"] },
  { is: isAt(0, "II*\0"), args: ["-f", "tiff_pipe"] },
  { is: isAt(0, "MM\0*"), args: ["-f", "tiff_pipe"] },
];

// EXIF orientation -> the filter that turns the picture upright.
const upright = {
  2: "hflip",
  3: "hflip,vflip",
  4: "vflip",
  5: "transpose=cclock_flip",
  6: "transpose=clock",
  7: "transpose=clock_flip",
  8: "transpose=cclock",
};

/**
 * Decodes the file that the input's `field` names, its first picture if there are several.
 *
 * Returns { width, height, pixels }; pixels: [height, width, 4] uint8, row-major, RGBA, upright.
 * Rejects the field when it is no image, damaged, or has more than pixelsMax pixels.
 */
export async function readImage(field, path, { pixelsMax }) {
  const head = await readHead(field, path);
  const format = formats.find(({ is }) => is(head));
  if (!format) reject(field, "not a PNG, JPEG, WebP, GIF, BMP or TIFF image");
  const source = ["-v", "error", "-max_pixels", String(pixelsMax), ...format.args, "-i", path];

  const { width, height, orientation } = await probe(field, source, pixelsMax);
  const decoded = await run("ffmpeg", [
    ...["-nostdin", "-xerror", "-noautorotate", ...source, "-frames:v", "1"],
    ...["-vf", upright[orientation] ?? "null", "-f", "rawvideo", "-pix_fmt", "rgba", "pipe:1"],
  ]);
  if (!decoded.ok || decoded.stdout.length !== width * height * 4) reject(field, "the image is damaged or incomplete");
  const isTurned = orientation >= 5;
  return { width: isTurned ? height : width, height: isTurned ? width : height, pixels: decoded.stdout };
}

async function readHead(field, path) {
  if (!path.startsWith("/")) reject(field, "must be an http(s) URL, a data: URI or an uploaded file");
  const file = await open(path).catch(() => reject(field, "the file cannot be read"));
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function probe(field, source, pixelsMax) {
  const { stdout, stderr } = await run("ffprobe", [
    ...source,
    ...["-read_intervals", "%+#1", "-show_entries", "stream=width,height:frame=pix_fmt:frame_tags=Orientation"],
    ...["-of", "json"],
  ]);
  const tooLarge = stderr.match(/Picture size (\d+x\d+) exceeds/);
  if (tooLarge) reject(field, `${tooLarge[1]} is too large, the limit is ${pixelsMax} pixels (width × height)`);
  const { streams: [stream] = [], frames: [frame] = [] } = JSON.parse(stdout.toString("utf8") || "{}");
  if (!stream?.width || !stream.height) reject(field, "the image is damaged or incomplete");
  return { ...stream, orientation: Number(frame?.tags?.Orientation ?? 1) };
}

/** Lays the image over a plain background in place: afterwards every pixel is opaque. grey: 0 to 255. */
export function flatten({ pixels }, grey) {
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    if (alpha === 255) continue;
    for (let c = i; c < i + 3; c++) pixels[c] = Math.round((pixels[c] * alpha + grey * (255 - alpha)) / 255);
    pixels[i + 3] = 255;
  }
}

/** The ffmpeg arguments that read such an image, sent raw to its stdin. */
export const rawInput = ({ width, height }) =>
  ["-f", "rawvideo", "-pix_fmt", "rgba", "-video_size", `${width}x${height}`, "-i", "pipe:0"];

/** Writes such an image to a file; the name's ending decides the format. */
export async function writeImage(path, image) {
  const quality = path.endsWith(".jpg") ? ["-q:v", "2", "-pix_fmt", "yuvj444p"] : [];
  await mustRun("ffmpeg", ["-v", "error", ...rawInput(image), "-frames:v", "1", ...quality, "-y", path], {
    input: image.pixels,
  });
}
