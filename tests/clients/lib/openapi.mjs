// A server's own OpenAPI document, as a judge of what the server answers.

import assert from 'node:assert/strict';

import Ajv from 'ajv';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const documentId = 'https://quern.test/openapi.json';
const options = { strict: false, allErrors: true };

const escape = (name) => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'));
const pointer = (...names) => `#/${names.map(escape).join('/')}`;

/** A validator of a schema in draft 7, where what stands beside a reference does not count. */
export function compileDraft7(schema) {
  return addFormats(new Ajv({ ...options, ignoreKeywordsWithRef: true })).compile(schema);
}

// The same document, in which the answers' objects hold what they list and nothing else.
function closed(document) {
  const copy = structuredClone(document);
  const close = (value) => {
    if (value === null || typeof value !== 'object') return;
    if (value.properties && value.type === 'object') value.additionalProperties = false;
    Object.values(value).forEach(close);
  };
  for (const [name, schema] of Object.entries(copy.components.schemas))
    if (!name.startsWith('Input_')) close(schema);
  return copy;
}

export class Judge {
  /** @param document as GET /openapi.json answers it */
  constructor(document) {
    this.document = document;
    this.called = new Set();
    this.ajv = addFormats(new Ajv2020(options));
    this.ajv.addSchema({ ...closed(document), $id: documentId }, undefined, false);
  }

  /** The validator of the schema at a place of the document. */
  validator(...names) {
    return this.ajv.getSchema(documentId + pointer(...names)) ?? this.ajv.compile({ $ref: documentId + pointer(...names) });
  }

  /** What a reference leads to, and the names that lead there. */
  resolve(value, ...names) {
    if (!value.$ref) return { value, names };
    const steps = value.$ref.slice(2).split('/').map(decodeURIComponent);
    return { value: steps.reduce((at, step) => at[step], this.document), names: steps };
  }

  /** The path of the document that stands for a path of the server: the one with fewest parameters. */
  pathOf(method, path) {
    const segments = path.split('/');
    const fits = (template) => {
      const steps = template.split('/');
      return steps.length === segments.length
        && steps.every((step, i) => step.startsWith('{') || step === decodeURIComponent(segments[i]));
    };
    const parameters = (template) => template.split('{').length;
    const [found] = Object.keys(this.document.paths)
      .filter((template) => this.document.paths[template][method] && fits(template))
      .sort((a, b) => parameters(a) - parameters(b));
    assert.ok(found, `${method} ${path} is not in the document`);
    return found;
  }

  /** Fails unless the document says that this call may have this answer. */
  check(method, url, { status, type, body }) {
    const template = this.pathOf(method, new URL(url).pathname);
    const operation = this.document.paths[template][method];
    this.called.add(operation.operationId);
    const { responses } = operation;
    const key = [String(status), `${String(status)[0]}XX`].find((name) => responses[name]);
    const call = `${method} ${template}: ${status}`;
    assert.ok(key, `${call} is not in the document`);
    const { value: response, names } = this.resolve(responses[key], 'paths', template, method, 'responses', key);
    if (!response.content) return assert.equal(body, '', `${call} has a body`);
    const range = Object.keys(response.content).find((name) => name === '*/*' || type.startsWith(name));
    assert.ok(range, `${call} has the type ${type}`);
    if (!type.startsWith('application/json') || !response.content[range].schema) return undefined;
    const validate = this.validator(...names, 'content', range, 'schema');
    const answer = JSON.parse(body);
    assert.ok(validate(answer), `${call} ${body}\n${JSON.stringify(validate.errors, null, 1)}`);
    return answer;
  }
}
