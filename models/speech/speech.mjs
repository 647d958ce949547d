#!/usr/bin/env node
// Text to speech: espeak-ng speaks, ffmpeg encodes.

import { join } from "node:path";
import { mustRun, output, progress, reject, serve } from "../lib/runner.mjs";

// Which letters a voice can read; espeak-ng spells all others out as "letter, letter, letter".
const latin = /\p{Script=Latin}/u;
const letters = {
  cmn: /\p{Script=Han}|\p{Script=Latin}/u,
  el: /\p{Script=Greek}/u,
  hi: /\p{Script=Devanagari}/u,
  ru: /\p{Script=Cyrillic}/u,
  uk: /\p{Script=Cyrillic}/u,
};

const formats = {
  mp3: { file: "speech.mp3", args: ["-c:a", "libmp3lame", "-b:a", "64k"] },
  opus: { file: "speech.ogg", args: ["-c:a", "libopus", "-b:a", "32k", "-ar", "48000"] },
  wav: { file: "speech.wav", args: ["-c:a", "pcm_s16le"] },
};

function checkText(text, voice) {
  if (/[\p{Cc}\p{Cs}]/u.test(text.replace(/[\t\r\n]/g, ""))) reject("prompt", "contains control characters");
  if (/\p{N}/u.test(text) || (letters[voice] ?? latin).test(text)) return;
  if (/\p{L}/u.test(text)) reject("prompt", `none of its letters can be read by the voice "${voice}"`);
  reject("prompt", "contains nothing to speak");
}

await serve(async ({ input: { prompt, voice, speed, pitch, format }, output_dir }) => {
  checkText(prompt, voice);
  const { file, args } = formats[format];
  const spoken = join(output_dir, "spoken.wav");

  // The text goes by stdin: an argument could be taken for an option and is limited in length.
  const options = ["-v", voice, "-s", String(speed), "-p", String(pitch), "-b", "1"];
  await mustRun("espeak-ng", [...options, "--stdin", "-w", spoken], { input: prompt });
  progress(0.5);

  await mustRun("ffmpeg", ["-nostdin", "-v", "error", "-i", spoken, "-ac", "1", ...args, "-y", join(output_dir, file)]);
  progress(1);
  output({ type: "audio", path: file, metadata: { voice } });
});
