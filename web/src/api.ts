// The HTTP contract as the page uses it; the types are generated from the service's own description of it.
import type { components } from "./openapi";

type Schemas = components["schemas"];
export type Dataset = Schemas["DatasetOut"];
export type Validation = Schemas["ValidationOut"];
export type Statistics = Schemas["StatisticsOut"];
export type Spread = Schemas["SpreadOut"];
export type Problem = Schemas["ProblemItem"];
export type Warning = Schemas["WarningOut"];
export type Job = Schemas["JobOut"];
export type JobEvent = Schemas["EventOut"];
export type Plan = Schemas["PlanOut"];
export type Model = Schemas["ModelOut"];
export type Version = Schemas["VersionOut"];
export type Report = Schemas["Report"];
export type SplitReport = Schemas["SplitReport"];
export type Prediction = Schemas["PredictionOut"];
export type Answer = Schemas["PredictOut"];
export type Page<T> = { data: T[]; has_more: boolean };

/** What the service says when it refuses something (RFC 9457). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: Problem[] = [],
    readonly problemCount: number = problems.length,
  ) {
    super(message);
  }
}

const KEY = "thawline-key";
const keyWanted = new Set<() => void>();

/** The key is kept for this tab alone, and forgotten with it. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value: string) => sessionStorage.setItem(KEY, value),
  /** Be told when a call was refused for want of a key. */
  onWanted(listener: () => void): () => void {
    keyWanted.add(listener);
    return () => keyWanted.delete(listener);
  },
};

/** Whether a text can be sent as a key at all. */
export const isKey = (text: string): boolean => /^[\x20-\x7e]+$/.test(text);

function headers(more: Record<string, string> = {}): Record<string, string> {
  const key = apiKey.get();
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

function refusal(status: number, body: unknown): ApiError {
  if (status === 401) {
    keyWanted.forEach((listener) => listener());
    return new ApiError(401, apiKey.get() ? "The service does not know this API key." : "The service wants an API key.");
  }
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Schemas["ProblemOut"]>;
  const message = problem.detail ?? `The service answered ${status}.`;
  return new ApiError(status, message, problem.errors ?? [], problem.error_count ?? undefined);
}

function parsed(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** Call the service. What cannot be reached is an `ApiError`, too, of status 0. */
export async function call<T>(path: string, options: { method?: string; body?: unknown; signal?: AbortSignal } = {}): Promise<T> {
  const json: Record<string, string> = options.body === undefined ? {} : { "Content-Type": "application/json" };
  let response: Response;
  try {
    response = await fetch(path, {
      method: options.method ?? (options.body === undefined ? "GET" : "POST"),
      headers: headers(json),
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "The service cannot be reached. Is it running?");
  }
  const body = parsed(await response.text().catch(() => ""));
  if (!response.ok) throw refusal(response.status, body);
  return body as T;
}

/** Whether a file can still be read: one that was changed since it was chosen cannot. */
async function isReadable(value: FormDataEntryValue): Promise<boolean> {
  return typeof value === "string" || value.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

/** Send a form with files, and tell how much of it has gone out, from 0 to 1; what comes of it, and with which status. */
export async function send<T>(path: string, form: FormData, onProgress: (share: number) => void, signal: AbortSignal): Promise<{ status: number; body: T }> {
  for (const value of form.values()) {
    if (!(await isReadable(value))) throw new ApiError(0, `${(value as File).name} was changed or moved since it was chosen. Choose it again.`);
  }
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch cannot tell how far it is
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onabort = () => reject(new ApiError(0, "The upload was stopped."));
    request.onerror = () => reject(new ApiError(0, "The upload was cut off. Is the service running, and the file not larger than it takes?"));
    request.onload = () => {
      const body = parsed(request.responseText);
      request.status < 400 ? resolve({ status: request.status, body: body as T }) : reject(refusal(request.status, body));
    };
    request.send(form);
  });
}

/** Save what a path gives as a file, also where a key is needed. */
export async function save(path: string, name: string): Promise<void> {
  const response = await fetch(path, { headers: headers() });
  if (!response.ok) throw refusal(response.status, parsed(await response.text()));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Events of a job as they come, a batch at a time, until the job is over; goes on where a connection broke off. */
export async function* jobEvents(jobId: string, signal: AbortSignal): AsyncGenerator<JobEvent[]> {
  let after = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const told = headers({ Accept: "text/event-stream", "Last-Event-ID": String(after) });
      const response = await fetch(`/jobs/${jobId}/events`, { headers: told, signal });
      if (response.status === 204) return;
      if (!response.ok || !response.body) throw refusal(response.status, parsed(await response.text()));
      for await (const batch of eventsOf(response.body)) {
        failures = 0;
        after = batch[batch.length - 1]!.id;
        yield batch;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) throw error;
      failures += 1;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 500 * 2 ** failures)));
  }
}

async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<JobEvent[]> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    const data = blocks.map((block) => block.split("\n").find((line) => line.startsWith("data:"))?.slice(5));
    const batch = data.filter((line) => line !== undefined).map((line) => JSON.parse(line!) as JobEvent);
    if (batch.length) yield batch;
  }
}
