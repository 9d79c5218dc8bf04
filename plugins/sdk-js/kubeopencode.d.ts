// Types of kubeopencode.js.

/** What a context type is. What is not said: any `config`, no settings, no capabilities, a `mountPath` or none. */
export interface ContextType<Config = any> {
  /** What users write as `type`: `[A-Za-z][A-Za-z0-9-]{0,62}`. */
  name: string;
  version: string;
  /** One sentence. */
  description: string;
  /** JSON Schema 2020-12 of `config`, without `$ref`. A string that names a Secret has `"x-kubeopencode-secret": true`. */
  schema?: object;
  /** The same of what the installer writes in the Plugin's `spec.config`. */
  settingsSchema?: object;
  /** What its plans contain beyond text, files and ConfigMaps: `env`, `git`, `url`, `secret`, `init-container`. */
  capabilities?: string[];
  /** Features of the host without which it does not work. */
  requires?: string[];
  mountPath?: "optional" | "required" | "ignored";
  /** The name of an item that has none, as the agent sees it. */
  defaultName?: string;
  /** A pure function, and not async: it is called again from its beginning when something was read for it. */
  evaluate(config: Config, request: Request): Action[] | Plan;
}

export interface Plan {
  actions: Action[];
  diagnostics?: { severity: "info" | "warning"; code: string; message: string }[];
}

/** Of `wit/plugin.wit`; the functions below make those that are used most. */
export type Action = { tag: string; val: unknown };

export interface Request {
  readonly host: { version: string; features: string[] };
  /** undefined: the contexts of an Agent's server. */
  readonly task?: { name: string; namespace: string; uid: string; created: string; labels: [string, string][]; annotations: [string, string][] };
  readonly agent: { name: string; namespace: string; workspaceDir: string };
  /** Who wrote the item: `agent`, `task`, `defaults`, `batch`; others may come. */
  readonly origin: string;
  /** Where its references are looked up. */
  readonly namespace: string;
  readonly itemName?: string;
  readonly mountPath?: string;
  readonly fileMode?: number;
  /** What the installer wrote in the Plugin's `spec.config`. */
  readonly settings: any;
  /** Texts and bytes of a ConfigMap by their keys; undefined: there is none. Without `keys` all of them. */
  configMap(name: string, keys?: string[]): Record<string, string | Uint8Array> | undefined;
  /** The Task's description; undefined: it has none. */
  prompt(): string | undefined;
  /** Needs the host's feature `fetch`. Happens in the Pod. */
  fetch(url: string, options?: FetchOptions & { body?: string }): { status: number; headers: [string, string][]; text: string } | undefined;
}

export interface FetchOptions {
  headers?: Record<string, string>;
  /** A Secret with token, or username and password; needs the capability `secret`. */
  credentials?: string;
  sha256?: string;
  insecureSkipTlsVerify?: boolean;
  timeoutSeconds?: number;
}

export function defineContextTypes(...types: ContextType[]): object;

export class PluginError extends Error {
  constructor(kind: "invalid-config" | "unsatisfied" | "unsupported" | "internal", message: string, field?: string);
}
/** The user must change the item, at this place of `config`, as in "/to". */
export function invalidConfig(message: string, field?: string): PluginError;
/** Something that the item refers to is missing or malformed: tried again when it changes. */
export function unsatisfied(message: string, field?: string): PluginError;
/** A defect of the plugin. */
export function internal(message: string): PluginError;

/** Text for the agent's context file; where the item has a mountPath, the content of that file. */
export function inline(text: string): Action;
/** The same under a name; where the item has a mountPath, a file in that folder. */
export function inlineFile(name: string, text: string): Action;
/** A file; a relative path lies in the workspace. */
export function writeFile(path: string, data: string | Uint8Array, mode?: number): Action;
/** An environment variable of the agent; needs the capability `env`. */
export function setEnv(name: string, value: string): Action;
/** A file that is downloaded in the Pod; needs the capability `url`. */
export function fetchUrl(url: string, path: string, options?: FetchOptions & { unpack?: boolean; mode?: number }): Action;
