// The recipes of docs/CLIENTS.md as they stand there, so that what the tests run is what people copy.

import { readFile } from 'node:fs/promises';
import path from 'node:path';

const page = path.resolve(import.meta.dirname, '../../../docs/CLIENTS.md');

/** The first JavaScript below the heading `title`, for the server at `url`. */
export async function readRecipe(title, url) {
  const text = await readFile(page, 'utf8');
  const section = text.split(/^## /m).find((part) => part.startsWith(`${title}\n`));
  const code = /^```js\n(.*?)^```/ms.exec(section ?? '')?.[1];
  if (!code) throw new Error(`docs/CLIENTS.md has no JavaScript below "${title}"`);
  return code.replaceAll('http://127.0.0.1:8080', url);
}
