#pragma once
// The text of GET /docs, in the three parts that its content security policy tells apart.

#include <string_view>

namespace quern::api {

inline constexpr std::string_view kDocsStyle = R"css(
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0a7d5a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
code, pre, textarea { font: 14px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid var(--line); padding: .35rem .5rem; text-align: left; vertical-align: top; }
label { display: block; margin: .75rem 0 .25rem; font-weight: 600; }
input, select, textarea { width: 100%; padding: .5rem; border: 1px solid var(--line); border-radius: 6px; background: transparent; color: inherit; }
button { margin-top: .75rem; padding: .5rem 1.25rem; border: 0; border-radius: 6px; background: var(--accent); color: #fff; font: inherit; cursor: pointer; }
button:disabled { opacity: .5; cursor: default; }
progress { width: 100%; margin-top: .75rem; } img, video { max-width: 100%; border-radius: 6px; } .quiet { opacity: .7; }
)css";

inline constexpr std::string_view kDocsScript = R"js(
'use strict';
const $ = (id) => document.getElementById(id);
const make = (tag, text) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; return e; };
let api = null;

const headers = () => ({ Authorization: 'Key ' + $('key').value.trim(), 'Content-Type': 'application/json' });
const models = () => Object.keys(api.paths).filter((p) => /^\/v1\/queue\/[^{}/]+$/.test(p)).map((p) => p.slice(10));
const schemaOf = (model) => api.components.schemas['Input_' + model] || {};

function exampleOf(model) {
  const schema = schemaOf(model);
  if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
  const input = {};
  for (const [name, p] of Object.entries(schema.properties || {})) {
    if (p.default !== undefined) input[name] = p.default;
    else if ((schema.required || []).includes(name)) input[name] = p.type === 'string' ? '' : p.type === 'boolean' ? false : 0;
  }
  return Object.keys(input).length ? input : { prompt: 'hello' };
}

function showModel() {
  const model = $('model').value;
  const operation = api.paths['/v1/queue/' + model].post;
  $('about').textContent = operation.description || operation.summary;
  $('input').value = JSON.stringify(exampleOf(model), null, 2);
  const table = $('parameters');
  table.replaceChildren();
  const schema = schemaOf(model);
  for (const [name, p] of Object.entries(schema.properties || {})) {
    const row = make('tr');
    row.append(make('td', name + ((schema.required || []).includes(name) ? ' *' : '')), make('td', [].concat(p.type || p.enum || '').join(', ')), make('td', p.description || p.title || ''));
    table.append(row);
  }
  showCurl();
}

function showCurl() {
  let body = $('input').value;
  try { body = JSON.stringify(JSON.parse(body)); } catch (e) { /* shown as typed */ }
  const origin = location.origin, model = $('model').value;
  $('curl').textContent =
    "curl -s " + origin + "/v1/queue/" + model + " -H 'Authorization: Key '$QUERN_KEY -d '" + body.replaceAll("'", "'\\''") + "'\n" +
    "curl -s " + origin + "/v1/queue/" + model + "/requests/$ID/status -H 'Authorization: Key '$QUERN_KEY\n" +
    "curl -s " + origin + "/v1/queue/" + model + "/requests/$ID/response -H 'Authorization: Key '$QUERN_KEY\n" +
    "curl -s -X PUT " + origin + "/v1/queue/" + model + "/requests/$ID/cancel -H 'Authorization: Key '$QUERN_KEY";
}

function showOutputs(result) {
  for (const output of result.outputs || []) {
    const type = (output.content_type || '').split('/')[0];
    if (output.url && (type === 'image' || type === 'video' || type === 'audio')) {
      const media = make(type === 'image' ? 'img' : type);
      media.src = output.url;
      if (type !== 'image') media.controls = true;
      $('outputs').append(media);
    }
    if (output.text) $('outputs').append(make('pre', output.text));
    if (output.url) { const link = make('a', output.file_name || output.url); link.href = output.url; $('outputs').append(make('br'), link); }
  }
}

async function call(method, path, body) {
  const answer = await fetch(path, { method, headers: headers(), body });
  const json = await answer.json();
  $('answer').textContent = 'HTTP ' + answer.status + '\n' + JSON.stringify(json, null, 2);
  return { status: answer.status, json };
}

async function run() {
  $('outputs').replaceChildren();
  $('bar').hidden = false; $('bar').removeAttribute('value'); $('run').disabled = true;
  try {
    const base = '/v1/queue/' + $('model').value;
    const created = await call('POST', base, $('input').value);
    if (created.status !== 200) return;
    const task = base + '/requests/' + created.json.request_id;
    for (;;) {
      const now = await call('GET', task + '/status?logs=1&wait=2');
      if (now.status !== 200) return;
      if (now.json.progress !== undefined) $('bar').value = now.json.progress;
      if (now.json.status === 'COMPLETED') break;
      await new Promise((done) => setTimeout(done, 250));
    }
    showOutputs((await call('GET', task + '/response')).json);
  } catch (error) {
    $('answer').textContent = String(error);
  } finally {
    $('bar').hidden = true; $('run').disabled = false;
  }
}

function showRoutes() {
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const row = make('tr');
      row.append(make('td', method.toUpperCase()), make('td', path), make('td', operation.summary));
      $('routes').append(row);
    }
  }
}

async function start() {
  api = await (await fetch('/openapi.json')).json();
  for (const model of models()) { const option = make('option', model); option.value = model; $('model').append(option); }
  showRoutes();
  $('model').addEventListener('change', showModel);
  $('input').addEventListener('input', showCurl);
  $('run').addEventListener('click', run);
  if ($('model').value) showModel();
}
start();
)js";

inline constexpr std::string_view kDocsBody = R"html(
<h1>Quern</h1>
<p class="quiet">A durable queue for multimodal generation: create a task, poll its status until it is COMPLETED, fetch its result. The same as a machine reads it: <a href="/openapi.json">/openapi.json</a></p>
<h2>Try a call</h2>
<label for="key">Key</label><input id="key" type="password" autocomplete="off" placeholder="the secret of your key">
<label for="model">Model</label><select id="model"></select>
<p id="about" class="quiet"></p>
<table><tbody id="parameters"></tbody></table>
<label for="input">Input</label><textarea id="input" rows="8" spellcheck="false"></textarea>
<button id="run">Create and wait</button>
<progress id="bar" max="1" hidden></progress>
<div id="outputs"></div>
<pre id="answer">No answer yet.</pre>
<h2>The same with curl</h2>
<pre id="curl"></pre>
<h2>Routes</h2>
<table><tbody id="routes"></tbody></table>
)html";

}  // namespace quern::api
