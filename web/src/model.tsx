// One model: its versions side by side, and which of them is asked.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { type Dataset, type Job, type Model, type Report, type Version, call } from "./api";
import { bytes, count, figure, metricName, telling, when } from "./format";
import { go, useAction, useAsked, useTitle } from "./hooks";
import { Card, Facts, Failure, Loading, Save, Scroll, Sure } from "./parts";

const SIDE_BY_SIDE = 4;

export function ModelPage({ name }: { name: string }): JSX.Element {
  const { data: model, error, reload } = useAsked<Model>(`/models/${encodeURIComponent(name)}`);
  const [chosen, setChosen] = useState<number[]>();
  const remove = useAction(async () => {
    await call(`/models/${encodeURIComponent(name)}`, { method: "DELETE" });
    go("/models");
  });
  useTitle(name);
  if (!model) return error ? <Failure error={error} /> : <Loading what="the model" />;
  const shown = chosen ?? model.versions.slice(0, SIDE_BY_SIDE).map((version) => version.version);
  return (
    <>
      <h1>{model.name}</h1>
      <p class="actions"><a class="button" href={`#/playground?model=${model.name}`}>Try it</a></p>
      <Aliases model={model} changed={reload} />
      <Card title="Versions side by side" aside={model.versions.length > 1 && <VersionChoice model={model} shown={shown} onShown={setChosen} />}>
        <Versions model={model} versions={model.versions.filter((version) => shown.includes(version.version))} changed={reload} />
      </Card>
      <Failure error={remove.error} />
      <p><Sure question="Delete the model with all its versions?" busy={remove.busy} onSure={remove.run}>Delete the model</Sure></p>
    </>
  );
}

function Aliases({ model, changed }: { model: Model; changed: () => void }): JSX.Element {
  const back = useAction(async (alias: string) => {
    await call(`/models/${encodeURIComponent(model.name)}/aliases/${alias}/rollback`, { body: { from_version: model.aliases[alias] } });
    changed();
  });
  const entries = Object.entries(model.alias_details);
  return (
    <Card title="What its names mean">
      {entries.length === 0 && <p>No alias: ask for a version, such as <code>{model.name}@1</code>.</p>}
      <Facts facts={entries.map(([alias, detail]) => [alias, (
        <>
          version {detail.version}
          {detail.canary && `, ${Math.round(100 * detail.canary.weight)} % of the calls version ${detail.canary.version}`}
          {detail.shadow != null && `, compared with version ${detail.shadow}`}
          <small> since {when(detail.updated_at)}</small>{" "}
          {detail.previous != null && <Sure question={`Back to version ${detail.previous}?`} busy={back.busy} onSure={() => back.run(alias)}>Roll back</Sure>}
        </>
      )])} />
      <Failure error={back.error} />
    </Card>
  );
}

function VersionChoice({ model, shown, onShown }: { model: Model; shown: number[]; onShown: (versions: number[]) => void }): JSX.Element {
  return (
    <details class="choose">
      <summary>Choose versions</summary>
      <fieldset>
        <legend class="unseen">Versions</legend>
        {model.versions.map(({ version }) => (
          <label key={version}><input type="checkbox" checked={shown.includes(version)} onChange={(event) => onShown(event.currentTarget.checked ? [...shown, version] : shown.filter((one) => one !== version))} /> {version}</label>
        ))}
      </fieldset>
    </details>
  );
}

function Versions({ model, versions, changed }: { model: Model; versions: Version[]; changed: () => void }): JSX.Element {
  const promote = useAction(async (version: number) => {
    await call(`/models/${encodeURIComponent(model.name)}/aliases/production`, { method: "PUT", body: { version } });
    changed();
  });
  const names = [...new Set(versions.flatMap((version) => telling(version.metrics).map(([name]) => name)))];
  const rows: [string, (version: Version) => ComponentChildren][] = [
    ...names.map((name): [string, (version: Version) => ComponentChildren] => [metricName(name), (version) => <Best name={name} version={version} all={versions} />]),
    ["Data set", (version) => <DatasetLink id={version.dataset_id} />],
    ["Encoder", (version) => version.base_model],
    ["Strategy", (version) => version.strategy],
    ["Head", (version) => version.head],
    ["All files", (version) => bytes(version.size_bytes)],
    ["Created", (version) => when(version.created_at)],
  ];
  const shown = versions.map((version) => version.version).join();
  const path = (version: Version, rest: string) => `/models/${encodeURIComponent(model.name)}/versions/${version.version}/${rest}`;
  return (
    <>
      <Failure error={promote.error} />
      <Scroll label="Versions">
        <table class="versions">
          <thead>
            <tr>
              <td />
              {versions.map((version) => (
                <th scope="col" key={version.version}>
                  <a href={`#/models/${model.name}/${version.version}`}>Version {version.version}</a>
                  {Object.entries(model.aliases).filter(([, number]) => number === version.version).map(([alias]) => <span class="alias" key={alias}>{alias}</span>)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([title, cell]) => (
              <tr key={title} class={versions.length > 1 && differ(title, versions) ? "differs" : undefined}>
                <th scope="row">{title}</th>
                {versions.map((version) => <td key={version.version}>{cell(version)}</td>)}
              </tr>
            ))}
            <Served key={`served ${shown}`} versions={versions} />
            <Differences key={`different ${shown}`} versions={versions} />
            <tr>
              <th scope="row"><span class="unseen">What to do with it</span></th>
              {versions.map((version) => (
                <td key={version.version}>
                  {model.aliases["production"] !== version.version && <Sure question={`Answer ${model.name} with version ${version.version}?`} busy={promote.busy} onSure={() => promote.run(version.version)}>Promote</Sure>}
                  <Save path={path(version, "export")} name={`${model.name}-${version.version}-onnx.zip`}>ONNX bundle</Save>
                  <Save path={path(version, "card")} name={`${model.name}-${version.version}.md`}>Model card</Save>
                </td>
              ))}
            </tr>
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

function DatasetLink({ id }: { id: string }): JSX.Element {
  const { data } = useAsked<Dataset>(`/datasets/${id}`);
  return data ? <><a href={`#/datasets/${id}`}>{data.name}</a> <small>{when(data.created_at)}</small></> : <code>{id}</code>;
}

function Best({ name, version, all }: { name: string; version: Version; all: Version[] }): JSX.Element {
  const of = (one: Version) => telling(one.metrics).find(([other]) => other === name)?.[1];
  const value = of(version);
  const comparable = new Set(all.map((one) => one.dataset_id)).size === 1; // else the rows are others, too
  const best = comparable && all.length > 1 && value != null && value === Math.max(...all.map((one) => of(one) ?? -Infinity));
  return best ? <strong title="the best of these">{figure(value)} ★</strong> : <>{figure(value)}</>;
}

const FIELDS: Record<string, keyof Version> = { "Data set": "dataset_id", Encoder: "base_model", Strategy: "strategy", Head: "head" };

function differ(title: string, versions: Version[]): boolean {
  const field = FIELDS[title];
  return field !== undefined && new Set(versions.map((version) => version[field])).size > 1;
}

/** What the reports say of serving, and how much was learnt from. */
function Served({ versions }: { versions: Version[] }): JSX.Element {
  const reports = versions.map((version) => useAsked<Report>(`/models/${encodeURIComponent(version.model)}/versions/${version.version}/report`).data);
  const served = (report: Report) => report.precision?.figures?.[report.precision.served];
  const rows: [string, (report: Report) => ComponentChildren][] = [
    ["Training rows", (report) => (report.rows["train"] ? count(report.rows["train"].rows) : "–")],
    ["Served in", (report) => report.precision?.served ?? "–"],
    ["Latency", (report) => { const ms = served(report)?.milliseconds; return ms == null ? "–" : `${ms.toFixed(1)} ms a text`; }],
    ["Model file", (report) => { const one = served(report); return one ? bytes(one.size_bytes) : "–"; }],
  ];
  return (
    <>
      {rows.map(([title, cell]) => (
        <tr key={title}><th scope="row">{title}</th>{reports.map((report, index) => <td key={index}>{report ? cell(report) : "–"}</td>)}</tr>
      ))}
    </>
  );
}

/** Hyperparameters in which the versions' jobs differ. */
function Differences({ versions }: { versions: Version[] }): JSX.Element {
  const jobs = versions.map((version) => useJob(version.job_id));
  const specs = jobs.map((job) => flat(job?.spec ?? {}));
  const names = [...new Set(specs.flatMap(Object.keys))].filter((name) => !["dataset_id", "model", "base_model", "strategy", "head"].includes(name));
  const different = specs.every((spec) => Object.keys(spec).length) ? names.filter((name) => new Set(specs.map((spec) => spec[name])).size > 1) : [];
  return (
    <>
      {different.map((name) => (
        <tr key={name} class="differs"><th scope="row">{name.replaceAll("_", " ")}</th>{specs.map((spec, index) => <td key={index}>{spec[name] ?? "–"}</td>)}</tr>
      ))}
    </>
  );
}

function useJob(id: string): Job | undefined {
  return useAsked<Job>(`/jobs/${id}`).data;
}

function flat(value: object): Record<string, string> {
  return Object.fromEntries(Object.entries(value).flatMap(([name, one]) => (one !== null && typeof one === "object" ? Object.entries(flat(one)) : [[name, String(one)]])));
}
