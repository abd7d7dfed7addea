// The page: its frame, and which page is where.
import { render } from "preact";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { apiKey, isKey } from "./api";
import { DatasetPage } from "./dataset";
import { DatasetsPage } from "./datasets";
import { type Theme, useRoute, useTheme } from "./hooks";
import { JobPage } from "./job";
import { JobsPage } from "./jobs";
import { ModelPage } from "./model";
import { ModelsPage } from "./models";
import { NewJobPage } from "./new_job";
import { PlaygroundPage } from "./playground";
import { VersionPage } from "./version";

const PLACES = [
  ["datasets", "Data sets"],
  ["jobs", "Jobs"],
  ["models", "Models"],
  ["playground", "Playground"],
] as const;

function App(): JSX.Element {
  const { parts, query } = useRoute();
  const [place = "datasets"] = parts;
  const [keys, setKeys] = useState(0);
  useEffect(() => {
    document.querySelector("main")?.focus();
    scrollTo(0, 0);
  }, [parts.join("/")]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.querySelector("main")?.focus(); }}>Skip to the content</a>
      <header class="top">
        <a class="brand" href="#/datasets"><img src="/web/icon.svg" alt="" width="28" height="28" /> Thawline</a>
        <nav aria-label="Main">
          {PLACES.map(([name, label]) => (
            <a key={name} href={`#/${name}`} aria-current={place === name ? "page" : undefined}>{label}</a>
          ))}
          <a href="/docs">HTTP reference</a>
        </nav>
        <ThemeChoice />
      </header>
      <KeyForm onKey={() => setKeys(keys + 1)} />
      <main id="main" tabIndex={-1} key={keys}><Place parts={parts} query={query} /></main>
    </>
  );
}

function Place({ parts, query }: { parts: string[]; query: URLSearchParams }): JSX.Element {
  const [place = "datasets", id, version] = parts;
  switch (place) {
    case "datasets":
      return id ? <DatasetPage key={id} id={id} again={query.has("again")} /> : <DatasetsPage />;
    case "jobs":
      if (id === "new") return <NewJobPage key={query.toString()} dataset={query.get("dataset")} like={query.get("like")} />;
      return id ? <JobPage key={id} id={id} /> : <JobsPage />;
    case "models":
      if (id && version) return <VersionPage key={`${id}@${version}`} model={id} version={Number(version)} />;
      return id ? <ModelPage key={id} name={id} /> : <ModelsPage />;
    case "playground":
      return <PlaygroundPage chosen={query.get("model")} />;
    default:
      return <><h1>Nothing is here</h1><p><a href="#/datasets">To the data sets</a></p></>;
  }
}

/** Shown where the service wants a key and was given none, or a wrong one. */
function KeyForm({ onKey }: { onKey: () => void }): JSX.Element | null {
  const [wanted, setWanted] = useState(false);
  const [wrong, setWrong] = useState(false);
  useEffect(() => apiKey.onWanted(() => setWanted(true)), []);
  if (!wanted) return null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget as HTMLFormElement).get("key")).trim();
    if (!isKey(key)) return setWrong(true);
    apiKey.set(key);
    setWrong(false);
    setWanted(false);
    onKey();
  };
  return (
    <form class="key" onSubmit={submit}>
      <label>This service wants an API key <input name="key" type="password" autocomplete="off" required /></label>
      <button>Use it</button>
      {wrong && <p role="alert">A key has only letters, digits and signs of ASCII.</p>}
    </form>
  );
}

function ThemeChoice(): JSX.Element {
  const [theme, setTheme] = useTheme();
  return (
    <label class="theme">
      <span class="unseen">Colours</span>
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
        <option value="auto">System</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

render(<App />, document.getElementById("app")!);
