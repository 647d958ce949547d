// The models that the clients call: small shell scripts that behave as their input says.

import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const examples = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../examples');

// Draws the same picture for every prompt, or fails as the prompt asks for.
const picture = `
input=$(cat)
out=$(printf '%s' "$input" | jq -r .output_dir)
case "$(printf '%s' "$input" | jq -r .input.prompt)" in
  *fail*) echo '{"error":"out of paint","error_type":"INFERENCE_FAILURE"}' ;;
  *block*) echo '{"error":"not this","error_type":"CONTENT_BLOCKED"}' ;;
  *)
    echo '{"log":"mixing colours","level":"INFO"}'
    cp picture.png "$out/picture.png"
    echo '{"output":{"type":"image","path":"picture.png"}}'
    echo '{"metadata":{"seed":42}}' ;;
esac
`;

const pictureSchema = {
  type: 'object',
  required: ['prompt'],
  additionalProperties: true,
  properties: {
    prompt: { type: 'string' },
    num_inference_steps: { type: 'integer', minimum: 1, maximum: 50, default: 28 },
  },
};

// Shows the same film for every prompt; waits first if its input names a gate.
const film = `
input=$(cat)
out=$(printf '%s' "$input" | jq -r .output_dir)
case "$(printf '%s' "$input" | jq -r .input.prompt)" in
  *fail*) echo '{"error":"no light","error_type":"INFERENCE_FAILURE"}' ;;
  *)
    gate=$(printf '%s' "$input" | jq -r '.input.gate // empty')
    if [ -n "$gate" ]; then mkfifo -m 600 "$gate"; read -r word < "$gate"; fi
    cp film.mp4 "$out/film.mp4"
    echo '{"output":{"type":"video","path":"film.mp4"}}'
    echo '{"metadata":{"seed":7}}' ;;
esac
`;

// Says what it got: bytes and checksum of the file that "file" of the input names.
const measure = `
path=$(jq -r .input.file)
sum=$(sha256sum < "$path" | cut -d' ' -f1)
printf '{"output":{"type":"text","text":"%s bytes, %s"}}\\n' "$(wc -c < "$path")" "$sum"
`;

// Tells of each step, and takes the last one when the gate that its input names is opened.
const stepwise = `
gate=$(jq -r .input.gate)
echo '{"log":"first step","level":"INFO"}'
mkfifo -m 600 "$gate"
echo '{"progress":0.5}'
read -r word < "$gate"
echo '{"log":"second step","level":"INFO"}'
echo '{"output":{"type":"text","text":"through the gate"}}'
`;

// Runs until it is told to stop.
const slow = `
echo '{"log":"working","level":"INFO"}'
exec sleep 600
`;

function entry(id, aliases, more = '') {
  return `
[[model]]
id = "${id}"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "${id}" }
attempts = 1
grace = "1s"
aliases = [${aliases.map((alias) => `"${alias}"`).join(', ')}]
${more}`;
}

export const modelsConfig = `
[[model]]
id = "echo"
executor = { kind = "echo" }
aliases = ["fal-ai/any-llm"]
${entry('picture', ['fal-ai/flux/dev'], 'schema = "picture/schema.json"')}
${entry('film', ['fal-ai/kling-video/v2/master/text-to-video'])}
${entry('measure', ['fal-ai/measure'])}
${entry('stepwise', ['fal-ai/stepwise'])}
${entry('slow', ['fal-ai/slow'], 'concurrency = 1')}
`;

/** Writes each model's folder below `folder`. */
export async function writeModels(folder) {
  for (const [id, script] of Object.entries({ picture, film, measure, stepwise, slow })) {
    await mkdir(path.join(folder, id));
    await writeFile(path.join(folder, id, 'run.sh'), script);
  }
  await writeFile(path.join(folder, 'picture', 'schema.json'), JSON.stringify(pictureSchema));
  await copyFile(
    path.join(examples, 'coffee_128.png'),
    path.join(folder, 'picture', 'picture.png'),
  );
  await makeFilm(path.join(folder, 'film', 'film.mp4'));
}

// One second of ffmpeg's test picture, 64 by 48.
async function makeFilm(file) {
  const source = 'testsrc=size=64x48:rate=10:duration=1';
  await promisify(execFile)('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', source]
    .concat(['-pix_fmt', 'yuv420p', '-threads', '1', file]));
}
