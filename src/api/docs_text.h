#pragma once
// The text of GET /docs, in the three parts that its content security policy tells apart.

#include <string_view>

namespace quern::api {

inline constexpr std::string_view kDocsStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f5; --card: #fff; --ink: #1d2521; --quiet: #5c6962; --line: #d9dfdb; --accent: #0a6b4d; --on-accent: #fff;
  --get: #1f5fae; --post: #0a6b4d; --put: #8a5a00; --delete: #b3261e; --bad: #b3261e; --code: #eef1ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141816; --card: #1c221f; --ink: #e6ebe8; --quiet: #9aa8a0; --line: #323b36; --accent: #4cc79a; --on-accent: #08130e;
    --get: #7fb2f0; --post: #4cc79a; --put: #e0b35a; --delete: #f2857d; --bad: #f2857d; --code: #121614;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 76rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.75rem; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem; }
p { margin: .25rem 0; }
a { color: var(--accent); }
code, pre, textarea { font: 13.5px/1.5 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { margin: 0; padding: .75rem; overflow: auto; border-radius: 6px; background: var(--code); white-space: pre-wrap; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.card { padding: 1.25rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1.25rem; align-items: start; }
@media (max-width: 56rem) { .columns { grid-template-columns: minmax(0, 1fr); } }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
section > label:first-child { margin-top: 0; }
input, select, textarea { width: 100%; padding: .5rem .65rem; border: 1px solid var(--line); border-radius: 6px; background: var(--page); color: inherit; font-size: 15px; }
textarea { min-height: 9rem; resize: vertical; font-size: 13.5px; }
button { padding: .5rem 1.1rem; border: 1px solid var(--accent); border-radius: 6px; background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer; }
button.plain { background: transparent; color: var(--accent); }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.buttons { display: flex; gap: .6rem; margin-top: 1rem; }
.state { display: flex; gap: .75rem; align-items: baseline; }
.state strong { font-size: 1.1rem; }
.bad { color: var(--bad); }
progress { width: 100%; height: .6rem; margin: .5rem 0; accent-color: var(--accent); }
#outputs > * { display: block; margin: .75rem 0; }
#outputs img, #outputs video { max-width: 100%; border-radius: 6px; }
#outputs audio { width: 100%; }
details > summary { cursor: pointer; }
#outcome details { margin-top: .75rem; }
#outcome details pre { margin-top: .5rem; max-height: 20rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 15px; }
td, th { padding: .45rem .9rem .45rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-top: 0; color: var(--quiet); font-weight: 600; }
.route { border-top: 1px solid var(--line); }
.route > summary { display: flex; flex-wrap: wrap; gap: .75rem; align-items: baseline; padding: .45rem 0; list-style: none; }
.route > summary::-webkit-details-marker { display: none; }
.route > div { padding-bottom: 1rem; overflow-x: auto; }
.method { flex: none; width: 4rem; font: 700 12.5px/1.5 ui-monospace, monospace; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); } .delete { color: var(--delete); }
footer { margin: 3rem 0 2rem; }
)css";

inline constexpr std::string_view kDocsScript = R"js(
'use strict';
const $ = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function make(tag, text, ...names) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (names.length) element.classList.add(...names);
  return element;
}

function row(...cells) {
  const line = make('tr');
  for (const cell of cells) {
    const column = make('td');
    column.append(cell);
    line.append(column);
  }
  return line;
}

// ---- the document

// What /docs lies in: a proxy may serve all of this below a prefix of its own.
const root = new URL('.', location.href).href;
const at = (path) => root + path.slice(1);

let api = null;
let running = null;  // the task that is watched: its path

const resolve = (value) => (value.$ref ? value.$ref.slice(2).split('/').map(decodeURIComponent).reduce((at, step) => at[step], api) : value);
const creates = () => Object.keys(api.paths).filter((path) => /^\/v1\/queue\/[^{}\/]+$/.test(path));
const chosen = () => $('model').value;
const createOf = (model) => api.paths['/v1/queue/' + model].post;
const titleOf = (model) => (createOf(model).summary === model ? '' : createOf(model).summary);
const schemaOf = (model) => resolve(api.components.schemas['Input_' + model]);
const isRequired = (schema, name) => (schema.required || []).includes(name);

function examplesOf(model) {
  const { examples = {} } = createOf(model).requestBody.content['application/json'];
  const found = Object.values(examples).map((example) => example.value);
  return found.length ? found : [sketchOf(schemaOf(model))];
}

// Of a model without an example: what it demands, and its defaults.
function sketchOf(schema) {
  const input = {};
  for (const [name, property] of Object.entries(schema.properties || {})) {
    const { type, default: preset } = resolve(property);
    if (preset !== undefined) input[name] = preset;
    else if (isRequired(schema, name)) input[name] = { boolean: false, integer: 0, number: 0, array: [], object: {} }[type] ?? '';
  }
  return Object.keys(input).length ? input : { prompt: 'hello' };
}

function rangeOf({ minimum, maximum, minLength, maxLength, minItems, maxItems }, unit = '') {
  const low = minimum ?? minLength ?? minItems;
  const high = maximum ?? maxLength ?? maxItems;
  if (low !== undefined && high !== undefined) return low + ' to ' + high + unit;
  if (low !== undefined) return 'at least ' + low + unit;
  return high !== undefined ? 'at most ' + high + unit : '';
}

function kindOf(property) {
  if (property['x-quern-file']) return 'file, as a URL';
  if (property.const !== undefined) return JSON.stringify(property.const);
  if (property.enum) return property.enum.map(String).join(' · ');
  const type = [].concat(property.type || 'anything').join(' or ');
  return [type, rangeOf(property, property.maxLength !== undefined ? ' characters' : '')].filter(Boolean).join(', ');
}

// ---- one model

function showModel() {
  const model = chosen();
  const schema = schemaOf(model);
  $('about').textContent = createOf(model).description || titleOf(model);
  const examples = examplesOf(model);
  $('example').replaceChildren(...examples.map((_, i) => Object.assign(make('option', 'Example ' + (i + 1)), { value: i })));
  $('example-line').hidden = examples.length < 2;
  showParameters(schema);
  showFileFields(schema);
  showExample();
}

function showExample() {
  $('input').value = JSON.stringify(examplesOf(chosen())[Number($('example').value)], null, 2);
  showCurl();
}

function showParameters(schema) {
  const lines = Object.entries(schema.properties || {}).map(([name, given]) => {
    const property = resolve(given);
    const title = make('span');
    title.append(make('code', name), isRequired(schema, name) ? ' required' : '');
    const preset = property.default === undefined ? '' : JSON.stringify(property.default);
    return row(title, kindOf(property), make('code', preset), property.description || property.title || '');
  });
  $('parameters').replaceChildren(...lines);
  $('parameters-table').hidden = lines.length === 0;
  $('no-parameters').hidden = lines.length > 0;
}

// A file of the reader's own goes up at once; its URL then stands in the input.
function showFileFields(schema) {
  $('files').replaceChildren();
  for (const [name, given] of Object.entries(schema.properties || {})) {
    if (!resolve(given)['x-quern-file']) continue;
    const field = Object.assign(make('input'), { type: 'file', id: 'file-' + name });
    const label = Object.assign(make('label', 'File for ' + name), { htmlFor: field.id });
    field.addEventListener('change', () => field.files.length && attempt(() => upload(name, field.files[0])));
    $('files').append(label, field);
  }
}

async function upload(name, file) {
  showState('Uploading', file.name);
  const form = new FormData();
  form.set('file', file);
  const { url } = await call('POST', '/v1/files', form);
  const input = JSON.parse($('input').value);
  $('input').value = JSON.stringify({ ...input, [name]: url }, null, 2);
  showState('Uploaded', file.name);
  showCurl();
}

function showCurl() {
  let body = $('input').value;
  try { body = JSON.stringify(JSON.parse(body)); } catch { /* shown as typed */ }
  const key = "-H \"Authorization: Key $QUERN_KEY\"";
  const model = at('/v1/queue/' + chosen());
  $('curl').textContent = [
    "curl -s " + key + " " + model + " \\\n  -d '" + body.replaceAll("'", "'\\''") + "'",
    'curl -s ' + key + ' ' + model + '/requests/$ID/status?wait=25',
    'curl -s ' + key + ' ' + model + '/requests/$ID/response',
    'curl -s ' + key + ' -X PUT ' + model + '/requests/$ID/cancel',
  ].join('\n');
}

// ---- one task

function showState(word, more = '', bad = false) {
  $('state').textContent = word;
  $('state').classList.toggle('bad', bad);
  $('more').textContent = more;
}

function explain(answer) {
  if (typeof answer.detail === 'string') return answer.detail;
  if (Array.isArray(answer.detail)) return answer.detail.map(({ loc, msg }) => loc.slice(1).concat(msg).join(': ')).join('\n');
  return answer.error?.message ?? 'The server gave no reason.';
}

class Refused extends Error {}

// Answers with the JSON of a 2xx; throws what the server says otherwise.
async function call(method, path, body) {
  const headers = { Authorization: 'Key ' + $('key').value.trim() };
  const answer = await fetch(at(path), { method, headers, body });
  const json = await answer.json();
  $('answer').textContent = method + ' ' + path + '\nHTTP ' + answer.status + '\n\n' + JSON.stringify(json, null, 2);
  if (!answer.ok) throw new Refused('HTTP ' + answer.status, { cause: explain(json) });
  return json;
}

// Runs what a button started, and shows what went wrong.
async function attempt(work) {
  if (!$('key').value.trim()) {
    $('key').focus();
    return showState('Enter a key first', 'One of the secrets that the server was configured with.', true);
  }
  try {
    await work();
  } catch (error) {
    const refused = error instanceof Refused;
    showState(refused ? error.message : 'No answer', refused ? error.cause : String(error), true);
  }
}

function showProgress(task) {
  const { status, queue_position: position, progress, logs } = task;
  if (status === 'IN_QUEUE') showState(status, position === undefined ? '' : position + ' before it');
  if (status === 'IN_PROGRESS') showState(status, progress === undefined ? '' : Math.round(100 * progress) + ' %');
  if (status === 'COMPLETED') showState(task.error ? 'Failed' : status, task.error ?? task.metrics.inference_time.toFixed(2) + ' s', Boolean(task.error));
  if (progress === undefined) $('bar').removeAttribute('value');
  else $('bar').value = progress;
  $('logs').textContent = (logs ?? []).map((entry) => entry.timestamp.slice(11, 23) + ' ' + entry.level + ' ' + entry.message).join('\n');
  $('logs-part').hidden = !logs?.length;
}

async function watch(task) {
  for (let now = {}; now.status !== 'COMPLETED'; await pause(100)) {
    now = await call('GET', task + '/status?logs=1&wait=' + (now.status ? 1 : 0));
    showProgress(now);
    if (now.error) return;
  }
  showOutputs(await call('GET', task + '/response'));
}

async function run() {
  $('outputs').replaceChildren();
  $('task').textContent = '';
  $('logs-part').hidden = true;
  $('bar').hidden = false;
  $('bar').removeAttribute('value');
  $('run').disabled = true;
  try {
    showState('Sending');
    const base = '/v1/queue/' + chosen();
    const { request_id: id } = await call('POST', base, $('input').value);
    $('task').textContent = id;
    running = base + '/requests/' + id;
    $('cancel').hidden = false;
    await watch(running);
  } finally {
    running = null;
    $('bar').hidden = $('cancel').hidden = true;
    $('run').disabled = false;
  }
}

// Under this page's address, whatever name the server gives itself in its URLs.
const here = (url) => at(url.slice(url.lastIndexOf('/files/')));

function showOutputs({ outputs }) {
  for (const { url, text, content_type: type = '', file_name: name, file_size: bytes, width, height, duration } of outputs) {
    const [kind] = type.split('/');
    if (url && ['image', 'video', 'audio'].includes(kind)) {
      const media = make(kind === 'image' ? 'img' : kind);
      media.src = here(url);
      if (kind === 'image') media.alt = name;
      else media.controls = true;
      $('outputs').append(media);
    }
    if (text !== undefined) $('outputs').append(make('pre', text));
    if (!url) continue;
    const line = make('p', undefined, 'quiet');
    const facts = [type, width && width + ' × ' + height, duration && duration.toFixed(1) + ' s', bytes?.toLocaleString('en') + ' bytes'];
    line.append(Object.assign(make('a', name), { href: here(url) }), ' ' + facts.filter(Boolean).join(', '));
    $('outputs').append(line);
  }
}

// ---- lists

function showModels() {
  for (const path of creates()) {
    const model = path.slice('/v1/queue/'.length);
    const title = titleOf(model);
    $('model').append(Object.assign(make('option', title ? title + ' (' + model + ')' : model), { value: model }));
    const choose = make('button', 'Try', 'plain');
    choose.addEventListener('click', () => { $('model').value = model; showModel(); $('try').scrollIntoView(); });
    $('models').append(row(make('code', model), title, createOf(model).description || '', choose));
  }
}

function aboutRoute({ parameters = [], responses, description }) {
  const about = make('div');
  if (description) about.append(make('p', description));
  if (parameters.length) {
    const table = make('table');
    for (const parameter of parameters.map(resolve))
      table.append(row(make('code', parameter.name), parameter.in, kindOf(resolve(parameter.schema)), parameter.description || ''));
    about.append(make('h3', 'Parameters'), table);
  }
  const table = make('table');
  for (const [status, response] of Object.entries(responses)) table.append(row(make('code', status), resolve(response).description));
  about.append(make('h3', 'Answers'), table);
  return about;
}

function showRoutes() {
  for (const { name, description } of api.tags) {
    const section = make('section');
    section.append(make('h3', name[0].toUpperCase() + name.slice(1)), make('p', description, 'quiet'));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== name) continue;
        const route = make('details', undefined, 'route');
        const line = make('summary');
        line.append(make('span', method.toUpperCase(), 'method', method), make('code', path), make('span', operation.summary, 'quiet'));
        route.append(line, aboutRoute(operation));
        section.append(route);
      }
    }
    $('routes').append(section);
  }
}

async function start() {
  api = await (await fetch(at('/openapi.json'))).json();
  showModels();
  showRoutes();
  $('model').addEventListener('change', showModel);
  $('example').addEventListener('change', showExample);
  $('input').addEventListener('input', showCurl);
  $('run').addEventListener('click', () => attempt(run));
  $('cancel').addEventListener('click', () => attempt(() => running && call('PUT', running + '/cancel')));
  if (chosen()) showModel();
  $('run').disabled = !chosen();
}
start();
)js";

inline constexpr std::string_view kDocsBody = R"html(
<header>
<h1>Quern</h1>
<p>A durable queue for multimodal generation: create a task, poll its status until it is COMPLETED, fetch its result.</p>
<p class="quiet">This page is made from <a href="openapi.json">/openapi.json</a>, which generators of clients read too.</p>
</header>
<main>
<h2 id="try">Try a call</h2>
<div class="columns">
<section class="card">
<label for="key">Key</label><input id="key" type="password" autocomplete="off" placeholder="the secret of one of the server's keys">
<label for="model">Model</label><select id="model"></select>
<p id="about" class="quiet"></p>
<div id="example-line"><label for="example">Start from</label><select id="example"></select></div>
<label for="input">Input</label><textarea id="input" rows="8" spellcheck="false"></textarea>
<div id="files"></div>
<div class="buttons"><button id="run" disabled>Create and wait</button><button id="cancel" class="plain" hidden>Cancel</button></div>
</section>
<section class="card" id="outcome" aria-live="polite">
<div class="state"><strong id="state">No task yet</strong><span id="more" class="quiet"></span></div>
<progress id="bar" max="1" hidden></progress>
<p class="quiet"><code id="task"></code></p>
<div id="outputs"></div>
<details id="logs-part" hidden><summary>Logs</summary><pre id="logs"></pre></details>
<details><summary>The last answer, as it came</summary><pre id="answer">None yet.</pre></details>
</section>
</div>
<h2>What this model takes</h2>
<section class="card scroll">
<p id="no-parameters" hidden>Any JSON object.</p>
<table id="parameters-table"><thead><tr><th>Parameter</th><th>Value</th><th>Default</th><th></th></tr></thead><tbody id="parameters"></tbody></table>
</section>
<h2>The same with curl</h2>
<pre id="curl"></pre>
<h2>Models</h2>
<section class="card scroll"><table><tbody id="models"></tbody></table></section>
<h2>Routes</h2>
<section class="card" id="routes"></section>
<footer class="quiet">Every call needs a header <code>Authorization: Key …</code>, but for files, this page and the checks of health.</footer>
</main>
<noscript>This page needs JavaScript; <a href="openapi.json">/openapi.json</a> says the same.</noscript>
)html";

}  // namespace quern::api
