// Context type `OpenApiDigest`: what an HTTP API offers, a line for each operation.

import { parse } from "yaml";

import { defineContextTypes, inline, invalidConfig, unsatisfied } from "../../../plugins/sdk-js/kubeopencode.js";
import schema from "./schema.json";

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

export const contextType = defineContextTypes({
  name: "OpenApiDigest",
  version: "0.1.0",
  description: "What an HTTP API offers: a line for each operation of an OpenAPI document",
  schema,
  defaultName: "api",

  evaluate(config, request) {
    const [document, place] = read(config, request);
    const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
      METHODS.filter((method) => item?.[method]).map((method) => ({ path, method, ...item[method] })),
    );
    const wanted = operations.filter(({ tags = [] }) => !config.tags || tags.some((tag) => config.tags.includes(tag)));
    if (wanted.length === 0) {
      const known = [...new Set(operations.flatMap(({ tags = [] }) => tags))].sort();
      throw config.tags
        ? invalidConfig(`no operation has one of these tags: there are ${known.join(", ") || "none"}`, "/tags")
        : unsatisfied(`${place} has no operations`);
    }
    const { title = "An API", version = "" } = document.info ?? {};
    return [inline([`${title} ${version}`.trim(), "", ...wanted.map(line)].join("\n"))];
  },
});

function read(config, request) {
  if (config.url) {
    const answer = request.fetch(config.url);
    if (answer?.status !== 200) throw unsatisfied(`${config.url}: status ${answer?.status ?? "none"}`, "/url");
    return [parsed(answer.text, config.url), config.url];
  }
  const { name, key } = config.configMap;
  const text = request.configMap(name, [key])?.[key];
  if (typeof text !== "string") throw unsatisfied(`ConfigMap ${name} has no text under ${key}`, "/configMap");
  const place = `key ${key} of ConfigMap ${name}`;
  return [parsed(text, place), place];
}

function parsed(text, place) {
  let document;
  try {
    // JSON is YAML
    document = parse(text);
  } catch (error) {
    throw unsatisfied(`${place} is no YAML: ${error.message.split("\n")[0]}`);
  }
  if (typeof document?.openapi !== "string") throw unsatisfied(`${place} is no OpenAPI document: it has no field openapi`);
  return document;
}

function line({ method, path, summary, operationId, parameters = [], requestBody, deprecated }) {
  const names = parameters.filter(({ name }) => name).map(({ name, required }) => (required ? name : `${name}?`));
  const takes = [...names, ...(requestBody ? ["body"] : [])];
  const words = summary ?? operationId ?? "";
  const ends = [takes.length > 0 && `(${takes.join(", ")})`, words && `: ${words}`, deprecated && " [deprecated]"];
  return `- ${method.toUpperCase()} ${path}${ends.filter(Boolean).join("")}`;
}
