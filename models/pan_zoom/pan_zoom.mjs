#!/usr/bin/env node
// A still image becomes a video: the view moves slowly over it (the "Ken Burns" effect).

import { join } from "node:path";
import { flatten, rawInput, readImage } from "../lib/image.mjs";
import { mustRun, output, progress, reject, serve } from "../lib/runner.mjs";

const PIXELS_MAX = 40_000_000;
const FRAMES_MAX = 900;

// zoompan places its view at whole pixels. On a source several times as large as the video the steps
// are a fraction of a video's pixel, and slow movements no longer tremble.
const SOURCE_SCALE = 4;
const SOURCE_SIDE_MAX = 5120;

// x and y in shares of the room beside the view, z in shares of the zoom; t runs from 0 to 1, slow at both ends.
const center = "0.5";
const moves = {
  in: { x: center, y: center, z: "t" },
  out: { x: center, y: center, z: "(1-t)" },
  left: { x: "(1-t)", y: center, z: "1" },
  right: { x: "t", y: center, z: "1" },
  up: { x: center, y: "(1-t)", z: "1" },
  down: { x: center, y: "t", z: "1" },
};

function filters({ direction, zoom, fps, width, height }, frames) {
  const t = `((1-cos(PI*on/${Math.max(1, frames - 1)}))/2)`;
  const { x, y, z } = Object.fromEntries(
    Object.entries(moves[direction]).map(([axis, share]) => [axis, share.replace("t", t)]),
  );
  const scale = Math.max(1, Math.min(SOURCE_SCALE, SOURCE_SIDE_MAX / Math.max(width, height)));
  const source = `${Math.round(width * scale)}:${Math.round(height * scale)}`;
  const view = `z='1+${zoom - 1}*${z}':x='(iw-iw/zoom)*${x}':y='(ih-ih/zoom)*${y}'`;
  return [
    // Cropped first: a very long image, scaled to cover the view, would not fit into the memory.
    `crop='max(1,min(iw,ih*${width}/${height}))':'max(1,min(ih,iw*${height}/${width}))'`,
    `scale=${source}:flags=bicubic`,
    `zoompan=${view}:d=${frames}:s=${width}x${height}:fps=${fps}`,
    "setsar=1",
    "format=yuv420p",
  ].join(",");
}

await serve(async ({ input, output_dir }) => {
  const frames = Math.round(input.duration * input.fps);
  if (frames < 1 || frames > FRAMES_MAX) {
    reject("duration", `${frames} frames asked for (duration × fps); 1 to ${FRAMES_MAX} are possible`);
  }

  const image = await readImage("image", input.image, { pixelsMax: PIXELS_MAX });
  flatten(image, 0);

  const codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"];
  const report = ["-nostats", "-progress", "pipe:1"];
  const target = ["-frames:v", String(frames), ...codec, ...report, "-y", join(output_dir, "video.mp4")];
  await mustRun("ffmpeg", ["-v", "error", ...rawInput(image), "-vf", filters(input, frames), ...target], {
    input: image.pixels,
    onLine(line) {
      const [key, value] = line.split("=");
      if (key === "frame") progress(Number(value) / frames);
    },
  });
  output({ type: "video", path: "video.mp4", metadata: { frames, fps: input.fps } });
});
