// Numbers, times and names as people read them.
const whole = new Intl.NumberFormat("en");

export const count = (value: number): string => whole.format(value);
export const percent = (value: number, digits = 0): string => `${(100 * value).toFixed(digits)} %`;
export const when = (time: string): string => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A metric, with three digits. */
export const figure = (value: number | null | undefined): string => (value == null ? "–" : value.toFixed(3));

/** The metrics of the rows that say most: test rows, where there are any. */
export function telling(metrics: unknown): [string, number][] {
  const splits = (metrics ?? {}) as Record<string, Record<string, number>>;
  return Object.entries(splits["test"] ?? splits["validation"] ?? {});
}

export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** A span of time, as vaguely as it is known. */
export function about(low: number, high: number): string {
  if (high < 90) return between(Math.max(5, 5 * Math.round(low / 5)), 5 * Math.ceil(high / 5), "seconds");
  if (high < 5400) return between(Math.max(1, Math.round(low / 60)), Math.ceil(high / 60), "minutes");
  return between(Math.max(0.5, Math.round(low / 1800) / 2), Math.ceil(high / 1800) / 2, "hours");
}

const between = (low: number, high: number, unit: string): string => `${low < high ? `${low} to ` : ""}${high} ${high === 1 ? unit.slice(0, -1) : unit}`;

export function duration(seconds: number): string {
  if (seconds < 1) return "under a second";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

const NAMES: Record<string, string> = {
  accuracy: "Accuracy",
  f1_macro: "F1, macro",
  f1_micro: "F1, micro",
  f1: "F1",
  precision: "Precision",
  recall: "Recall",
  pearson: "Pearson",
  spearman: "Spearman",
};
export const metricName = (name: string): string => NAMES[name] ?? name.replaceAll("_", " ");

const PHASES: Record<string, string> = {
  prepare: "Preparing",
  head: "Phase 1: head on the frozen encoder",
  full: "Phase 2: head and encoder together",
  evaluate: "Measuring",
  export: "Exporting to ONNX",
};
export const phaseName = (phase: string): string => PHASES[phase] ?? phase;
