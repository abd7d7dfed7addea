// What pages share: where we are, what was asked of the service, and what is remembered.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Page, call } from "./api";

/** The parts of the address behind the `#`, such as `["jobs", "job_…"]`, and what follows a `?`. */
export function useRoute(): { parts: string[]; query: URLSearchParams } {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** What stands in the browser's tab while a page is shown. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} – Thawline`;
  }, [title]);
}

export function go(path: string): void {
  location.hash = path;
}

export interface Asked<T> {
  data: T | undefined;
  error: ApiError | undefined;
  reload: () => void;
}

/** Ask for a path, again every so many milliseconds while the page is looked at; null asks nothing. */
export function useAsked<T>(path: string | null, every: (data: T | undefined) => number | undefined = () => undefined): Asked<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path });
  const [turn, setTurn] = useState(0);
  const interval = useRef(every);
  interval.current = every;
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let data: T | undefined;
    const ask = async () => {
      try {
        if (!document.hidden || data === undefined) {
          data = await call<T>(path, { signal: stop.signal });
          setState({ path, data });
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        const told = error instanceof ApiError ? error : new ApiError(0, String(error));
        setState((before) => ({ path, data: before.path === path ? before.data : undefined, error: told }));
        if (told.status >= 400 && told.status < 500) return; // it will be no other the next time
      }
      const wait = interval.current(data);
      if (wait !== undefined && !stop.signal.aborted) timer = setTimeout(ask, wait);
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, turn]);
  const reload = useCallback(() => setTurn((value) => value + 1), []);
  const mine = state.path === path; // what an earlier path gave is not shown for this one
  return { data: mine ? state.data : undefined, error: mine ? state.error : undefined, reload };
}

/** What a list has, and before it the one that is chosen, which the list may be too short for. */
export function useListed<T>(list: string, chosen: string | null, key: (item: T) => string): { items: T[] | undefined; error: ApiError | undefined } {
  const { data, error } = useAsked<Page<T>>(list);
  const { data: wanted, error: missing } = useAsked<T>(chosen);
  const whole = data && (!chosen || wanted || missing);
  const items = whole ? [...(wanted ? [wanted] : []), ...data.data.filter((item) => !wanted || key(item) !== key(wanted))] : undefined;
  return { items, error: error ?? missing };
}

/** Something that takes a while and may be refused. */
export function useAction<A extends unknown[]>(action: (...given: A) => Promise<void>): {
  run: (...given: A) => void;
  busy: boolean;
  error: ApiError | undefined;
  forget: () => void;
} {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const run = (...given: A) => {
    setBusy(true);
    setError(undefined);
    action(...given)
      .catch((reason: unknown) => setError(reason instanceof ApiError ? reason : new ApiError(0, String(reason))))
      .finally(() => setBusy(false));
  };
  const forget = useCallback(() => setError(undefined), []);
  return { run, busy, error, forget };
}

export type Theme = "auto" | "light" | "dark";
const THEME = "thawline-theme";

/** The colours: the system's, unless somebody has chosen others. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>((localStorage.getItem(THEME) as Theme | null) ?? "auto");
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem(THEME, theme);
    dispatchEvent(new Event("themechange"));
  }, [theme]);
  return [theme, setTheme];
}
