// What a context type in JavaScript is written with; types for editors are in kubeopencode.d.ts.
//
// QuickJS has no console, TextEncoder, TextDecoder and structuredClone: they are at the end of this file. What URL takes is
// many times as big: `npm install core-js`, and `import "core-js/actual/url"` where it is used.

import { log } from "kubeopencode:plugin/log@1.0.0";

/** What `export const contextType` has to be: one type, or several. */
export function defineContextTypes(...types) {
  for (const type of types) look(type);
  const describe = () => types.map((type) => ({
    name: type.name,
    version: type.version,
    description: type.description,
    configSchema: JSON.stringify(type.schema ?? {}),
    settingsSchema: type.settingsSchema && JSON.stringify(type.settingsSchema),
    capabilities: type.capabilities ?? [],
    requires: type.requires ?? [],
    mountPath: type.mountPath ?? "optional",
    defaultName: type.defaultName,
    extensions: [],
  }));
  const evaluate = (raw) => {
    const type = types.find(({ name }) => name === raw.typeName);
    let request;
    try {
      if (type === undefined) throw internal(`there is no type ${raw.typeName} here`);
      request = new Request(raw);
      const answer = outcome(type.evaluate(JSON.parse(raw.payload), request));
      return Request.needs(request) ?? answer;
    } catch (thrown) {
      const needs = Request.needs(request);
      if (needs !== undefined) return needs;
      throw thrown instanceof PluginError ? thrown.plain() : internal(words(thrown)).plain();
    }
  };
  return { describe, evaluate };
}

const FIELDS = {
  name: "string", version: "string", description: "string", evaluate: "function",
  schema: "object", settingsSchema: "object", capabilities: "object", requires: "object", mountPath: "string", defaultName: "string",
};
const REQUIRED = ["name", "version", "description", "evaluate"];

// what is wrong with a type, while it is built
function look(type) {
  const wrong = (words) => new TypeError(`defineContextTypes: ${type?.name ?? "a type"}: ${words}`);
  for (const key of Object.keys(type)) {
    if (!(key in FIELDS)) throw wrong(`there is no field ${key}: there are ${Object.keys(FIELDS).join(", ")}`);
  }
  for (const [key, kind] of Object.entries(FIELDS)) {
    if (type[key] === undefined && !REQUIRED.includes(key)) continue;
    if (typeof type[key] !== kind) throw wrong(`${key} is ${shown(type[key]) ?? "missing"}: it has to be of type ${kind}`);
  }
}

function outcome(answer) {
  if (typeof answer?.then === "function") {
    throw internal("evaluate is async, and nobody waits for a promise here: remove async and await");
  }
  if (Array.isArray(answer)) return { tag: "ready", val: { actions: answer, diagnostics: [], extensions: [] } };
  if (Array.isArray(answer?.actions)) return { tag: "ready", val: { diagnostics: [], extensions: [], ...answer } };
  throw internal(`evaluate gives ${JSON.stringify(answer)}: it has to return a list of actions, as in [inline("text")]`);
}

function words(thrown) {
  if (!(thrown instanceof Error)) return `thrown: ${typeof thrown === "string" ? thrown : JSON.stringify(thrown)}`;
  const global = thrown instanceof ReferenceError && /^'?(\w+)'? is not defined/.exec(thrown.message)?.[1];
  const instead = INSTEAD[global] ? ` (${INSTEAD[global]})` : "";
  return `${thrown.name}: ${thrown.message}${instead}\n${placed(thrown.stack ?? "")}`.trimEnd();
}

const NO_TIMERS = "a plugin has no timers, and its clock stands";
const NO_NODE = "a plugin runs in QuickJS, without Node";
const INSTEAD = {
  fetch: "a plugin has no network: ask request.configMap, or answer fetchUrl, which downloads for the agent",
  setTimeout: NO_TIMERS, setInterval: NO_TIMERS, setImmediate: NO_TIMERS, queueMicrotask: NO_TIMERS,
  process: NO_NODE, require: NO_NODE, Buffer: `${NO_NODE}: take Uint8Array, TextEncoder and TextDecoder`,
  URL: 'npm install core-js, and import "core-js/actual/url"',
  URLSearchParams: 'npm install core-js, and import "core-js/actual/url-search-params"',
};

// a stack with the lines that the author wrote; build.mjs knows them
function placed(stack) {
  return stack.replace(/[^\s(]+\.js:(\d+):(\d+)/g, (all, line, column) => globalThis.kubeopencodePlace?.(Number(line), Number(column)) ?? all);
}

/** What `evaluate` is asked. */
class Request {
  #asked = new Map();
  #isUnread = false;

  constructor(raw) {
    Object.assign(this, raw);
    this.settings = JSON.parse(raw.settings);
  }

  /** Texts and bytes of a ConfigMap by their keys, in `namespace`; undefined: there is none. Without `keys` all of them. */
  configMap(name, keys = []) {
    const found = this.#input(["config-map", name, ...keys].join("/"), { tag: "config-map", val: { name, keys } });
    return found.tag === "missing" ? undefined : Object.fromEntries(found.val.map(({ key, value }) => [key, value.val]));
  }

  /** The Task's description; undefined: it has none. */
  prompt() {
    const found = this.#input("prompt", { tag: "prompt" });
    return found.tag === "missing" ? undefined : found.val;
  }

  /** What a server answers: {status, headers, text}. It happens in the Pod, where `evaluate` is called again. */
  fetch(url, { body, headers = {}, ...rest } = {}) {
    if (!this.host.features.includes("fetch")) {
      throw new PluginError("unsupported", `KubeOpenCode ${this.host.version} fetches nothing for plugins: a newer one is needed`);
    }
    const val = { ...httpRequest(url, headers), body, ...rest };
    const found = this.#input(`fetch/${url} ${body ?? ""}`, { tag: "fetch", val });
    if (found.tag === "missing") return undefined;
    const { status, headers: given, body: content } = found.val;
    return { status, headers: given, text: content.tag === "text" ? content.val : new TextDecoder().decode(content.val) };
  }

  // all that was asked for, where some of it was not read yet: what evaluate made of that it made without knowing what there is
  static needs(request) {
    return request !== undefined && request.#isUnread ? { tag: "needs", val: [...request.#asked.values()] } : undefined;
  }

  // what was read; what was not is asked for, and evaluate is called again from its beginning
  #input(id, what) {
    this.#asked.set(id, { id, what });
    const found = this.inputs.find((input) => input.id === id);
    if (found === undefined) {
      this.#isUnread = true;
      throw new Needed();
    }
    return found.value;
  }
}

class Needed {}

/** What a plugin says no with. */
export class PluginError extends Error {
  constructor(kind, message, field) {
    super(message);
    Object.assign(this, { kind, field });
  }
  plain() {
    return { kind: this.kind, message: this.message, field: this.field };
  }
}
/** The user must change the item, at this place of `config`, as in "/to". */
export const invalidConfig = (message, field) => new PluginError("invalid-config", message, field);
/** Something that the item refers to is missing or malformed: tried again when it changes. */
export const unsatisfied = (message, field) => new PluginError("unsatisfied", message, field);
/** A defect of the plugin. */
export const internal = (message) => new PluginError("internal", message);

const content = (data) => (typeof data === "string" ? { tag: "text", val: data } : { tag: "bytes", val: data });
const httpRequest = (url, headers) => ({
  url, body: undefined, credentials: undefined, sha256: undefined, insecureSkipTlsVerify: false, timeoutSeconds: 30,
  headers: Object.entries(headers).map(([name, value]) => ({ name, value: { tag: "value", val: value } })),
});

/** Text for the agent's context file; where the item has a mountPath, the content of that file. */
export const inline = (text) => ({ tag: "inline", val: text });
/** The same under a name; where the item has a mountPath, a file in that folder. */
export const inlineFile = (name, text) => ({ tag: "inline-file", val: { name, text } });
/** A file; a relative path lies in the workspace. */
export const writeFile = (path, data, mode) => ({ tag: "write-file", val: { path, content: content(data), mode } });
/** An environment variable of the agent; needs the capability `env`. */
export const setEnv = (name, value) => ({ tag: "set-env", val: { name, source: { tag: "value", val: value } } });
/** A file that is downloaded in the Pod; needs the capability `url`. */
export const fetchUrl = (url, path, { headers = {}, unpack = false, mode, ...rest } = {}) => ({
  tag: "fetch-url", val: { request: { ...httpRequest(url, headers), ...rest }, unpack, path, mode },
});

// --- what QuickJS has not ----------------------------------------------------------------------------------------

const shown = (value) => (typeof value === "string" ? value : value instanceof Error ? words(value) : JSON.stringify(value));
const line = (level) => (...values) => log(level, values.map(shown).join(" "));
globalThis.console ??= { debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error") };

globalThis.TextEncoder ??= class TextEncoder {
  encoding = "utf-8";
  encode(text = "") {
    const bytes = [];
    for (const letter of String(text)) {
      let code = letter.codePointAt(0);
      // a half of a pair without the other
      if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
      if (code < 0x80) bytes.push(code);
      else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
      else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
    return new Uint8Array(bytes);
  }
};

globalThis.TextDecoder ??= class TextDecoder {
  encoding = "utf-8";
  constructor(encoding = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^utf-?8$/i.test(encoding)) throw new RangeError(`TextDecoder: ${encoding} is not here, only utf-8`);
    Object.assign(this, { fatal, ignoreBOM });
  }
  decode(data = new Uint8Array()) {
    const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    let text = "";
    let at = !this.ignoreBOM && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
    while (at < bytes.length) {
      const first = bytes[at++];
      if (first < 0x80) {
        text += String.fromCharCode(first);
        continue;
      }
      const more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
      // what may stand second is less after some, so that each letter has one form
      let low = { 0xe0: 0xa0, 0xf0: 0x90 }[first] ?? 0x80;
      let high = { 0xed: 0x9f, 0xf4: 0x8f }[first] ?? 0xbf;
      let code = first & (0x3f >> more);
      let left = more;
      while (left > 0 && bytes[at] >= low && bytes[at] <= high) {
        code = (code << 6) | (bytes[at++] & 63);
        [low, high, left] = [0x80, 0xbf, left - 1];
      }
      if (more === 0 || left > 0) {
        if (this.fatal) throw new TypeError("TextDecoder: these bytes are not UTF-8");
        code = 0xfffd;
      }
      text += String.fromCodePoint(code);
    }
    return text;
  }
};

globalThis.structuredClone ??= (value) => {
  const copies = new Map();
  const copy = (value) => {
    if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`structuredClone: ${String(value)} cannot be copied`);
    if (typeof value !== "object" || value === null) return value;
    if (copies.has(value)) return copies.get(value);
    const keep = (made) => (copies.set(value, made), made);
    if (value instanceof Date) return keep(new Date(value));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (value instanceof DataView) return keep(new DataView(copy(value.buffer), value.byteOffset, value.byteLength));
    if (ArrayBuffer.isView(value)) return keep(new value.constructor(copy(value.buffer), value.byteOffset, value.length));
    if (value instanceof Map) {
      const made = keep(new Map());
      for (const [key, entry] of value) made.set(copy(key), copy(entry));
      return made;
    }
    if (value instanceof Set) {
      const made = keep(new Set());
      for (const entry of value) made.add(copy(entry));
      return made;
    }
    const made = keep(Array.isArray(value) ? new Array(value.length) : value instanceof Error ? new Error(value.message) : {});
    for (const key of Object.keys(value)) made[key] = copy(value[key]);
    return made;
  };
  return copy(value);
};
