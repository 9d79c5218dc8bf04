// Builds a component, in the folder of package.json: `node build.mjs plugin.js build/NAME.wasm [folder of plugin.wit]`.
//
// esbuild makes one file of the sources and their packages, and componentize-qjs a component of that and of QuickJS. What both say
// is put in an author's words here, with the lines that the author wrote.

import { mkdirSync, writeFileSync } from "node:fs";
import { builtinModules, createRequire } from "node:module";
import { dirname, relative, resolve } from "node:path";

const [source, component, wit = "wit"] = process.argv.slice(2);
const bundle = `${dirname(component)}/plugin.js`;
// those of the author's folder, wherever this file lies
const packages = createRequire(resolve("package.json"));
const esbuild = packages("esbuild");
const { componentize } = packages("componentize-qjs");

const NO_NODE =
  "A plugin runs in QuickJS, without Node: no files, no network, no processes, no timers. What it reads it asks request for " +
  "(configMap, prompt), what is to be there for the agent it answers as actions (writeFile, fetchUrl, setEnv). A package that needs " +
  "Node cannot be used: take one that runs in browsers.";

const NOT_MADE = "contextType was not made by defineContextTypes";
const WRITE = "write: export const contextType = defineContextTypes({ … });";

try {
  const { text, sourceMap, type } = bundled();
  const map = mapped(JSON.parse(sourceMap));
  const place = `globalThis.kubeopencodePlace = (line, column) => (${placed})(JSON.parse(${JSON.stringify(JSON.stringify(map))}), line, column);\n`;
  // what is no type would end the first call with a panic of the runtime
  const isMade = `if (typeof ${type}?.describe !== "function" || typeof ${type}?.evaluate !== "function") throw new TypeError("${NOT_MADE}");\n`;
  const whole = text + place + isMade;
  writeFileSync(bundle, whole);
  // without sync every call would be a promise, which the host does not wait for
  const options = { witPath: wit, world: "context-type-plugin", jsSource: whole, jsPath: bundle, optSize: true, sync: true };
  const made = await componentize(options).catch(({ message }) => {
    if (message.includes(NOT_MADE)) throw new Refusal(`${source}: the export ${NOT_MADE}; ${WRITE}`);
    const words = message.replace(/^.*module evaluation: /s, "");
    const ours = (all, line, column) => placed(map, Number(line), Number(column)) ?? all;
    throw new Refusal(`${source} cannot be loaded:\n${words.replace(/[^\s(]+\.js:(\d+):(\d+)/g, ours)}`);
  });
  writeFileSync(component, made.component);
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

function Refusal(message) {
  this.message = message;
}

function bundled() {
  const made = (() => {
    try {
      return esbuild.buildSync({
        entryPoints: [source], outfile: bundle, bundle: true, format: "esm", external: ["kubeopencode:*"],
        sourcemap: "external", sourcesContent: false, minifyWhitespace: true, metafile: true, write: false, logLevel: "silent",
      });
    } catch (failure) {
      if (!failure.errors) throw failure;
      for (const error of failure.errors) {
        const name = /^Could not resolve "(?:node:)?(.*)"$/.exec(error.text)?.[1];
        if (builtinModules.includes(name)) error.notes = [{ text: NO_NODE }];
        // esbuild advises to leave it out, which nobody could load then
        else if (name && !/^[./]/.test(name)) error.notes = [{ text: `There is no such package in node_modules: npm install ${packageOf(name)}` }];
      }
      throw new Refusal(shown(failure.errors, "error"));
    }
  })();
  if (made.warnings.length > 0) console.error(shown(made.warnings, "warning"));
  const { exports } = Object.values(made.metafile.outputs).find(({ entryPoint }) => entryPoint);
  if (!exports.includes("contextType")) {
    const there = exports.length > 0 ? `: there is ${exports.join(", ")}` : "";
    throw new Refusal(`${source} exports no contextType${there}; ${WRITE}`);
  }
  const file = (ending) => made.outputFiles.find(({ path }) => path.endsWith(ending)).text;
  mkdirSync(dirname(bundle), { recursive: true });
  const text = file(".js");
  // the name behind the export: esbuild gives it another one where two files have the same
  const [, type = "contextType"] = [...text.matchAll(/\bexport\{(?:[^{}]*,)?(?:([\w$]+) as )?contextType[,}]/g)].at(-1) ?? [];
  return { text, sourceMap: file(".js.map"), type };
}

// of a path in it, as in "@scope/name/part"
function packageOf(path) {
  return path.split("/").slice(0, path.startsWith("@") ? 2 : 1).join("/");
}

function shown(messages, kind) {
  return esbuild.formatMessagesSync(messages, { kind, color: process.stderr.isTTY === true }).join("").trimEnd();
}

// Which line of which source begins where in the bundle: [line, column, source, line there], without those that follow from the one
// before. Of packages it is the file alone, with no line: their lines are many, and no author's.
function mapped({ sources, mappings }) {
  const files = sources.map((one) => relative(".", resolve(dirname(bundle), one)));
  const starts = [];
  let [from, there] = [0, 0];
  for (const [index, segments] of mappings.split(";").entries()) {
    let column = 0;
    for (const [columns, sourcesOn, linesOn] of segments.split(",").filter(Boolean).map(numbers)) {
      column += columns;
      if (sourcesOn === undefined) continue;
      [from, there] = [from + sourcesOn, there + linesOn];
      const start = [index + 1, column, from, ...(/\bnode_modules\b/.test(files[from]) ? [] : [there + 1])];
      const [line, , source, first] = starts.at(-1) ?? [];
      const follows = source === from && (first === undefined || first + index + 1 - line === there + 1);
      if (!follows) starts.push(start);
    }
  }
  return { sources: files, starts };
}

// Base64 VLQ.
function numbers(segment) {
  const found = [];
  let [value, shift] = [0, 0];
  for (const letter of segment) {
    const digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(letter);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit < 32) {
      found.push(value & 1 ? -(value >> 1) : value >> 1);
      [value, shift] = [0, 0];
    }
  }
  return found;
}

// The place in the sources of one in the bundle, as a stack has it. It goes into the bundle too.
function placed({ sources, starts }, line, column) {
  const at = starts.findLast(([first, start]) => first < line || (first === line && start < column));
  return at && sources[at[2]] + (at[3] === undefined ? "" : `:${at[3] + line - at[0]}`);
}
