// How good a version is, and where it goes wrong.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Report, SplitReport } from "./api";
import { Curves, pointsOfReport } from "./curves";
import { bytes, count, figure, metricName, percent } from "./format";
import { useAsked } from "./hooks";
import { Chart } from "./lazy";
import { Bars, Card, Facts, Failure, Long, Scroll } from "./parts";

export function ReportView({ model, version, curves = true }: { model: string; version: number; curves?: boolean }): JSX.Element | null {
  const { data: report, error } = useAsked<Report>(`/models/${encodeURIComponent(model)}/versions/${version}/report`);
  if (!report) return <Failure error={error} />;
  return (
    <>
      <Quality report={report} />
      {curves && <Card title="Learning curves"><Curves points={pointsOfReport(report)} /></Card>}
      {curves && report.heads.length > 1 && (
        <Card title="Heads that were tried">
          <Bars caption={metricName(report.heads[0]!.metric)} most={1} bars={report.heads.map((trial) => ({ label: trial.head, value: trial.score, text: figure(trial.score) }))} />
        </Card>
      )}
      <Serving report={report} />
    </>
  );
}

function Quality({ report }: { report: Report }): JSX.Element {
  const names = Object.keys(report.splits);
  const [chosen, setChosen] = useState(names.includes("test") ? "test" : "validation");
  const split = report.splits[chosen] as SplitReport | undefined;
  const choice = names.length > 1 && (
    <label><span class="unseen">Rows</span>
      <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>{names.map((name) => <option key={name}>{name}</option>)}</select>
    </label>
  );
  return (
    <Card title={`How good it is, on ${chosen} rows`} aside={choice}>
      {chosen === "validation" && <p class="quiet">Validation rows have chosen what is kept, and flatter the model a little. Believe a test file.</p>}
      {split && (
        <>
          <Facts facts={Object.entries(split.metrics).map(([name, value]) => [metricName(name), figure(value)])} />
          <div class="columns">
            {split.classes && <Classes split={split} />}
            {split.confusion && <ConfusionTable split={split} />}
            {split.reliability && <ReliabilityChart split={split} />}
            {split.scores && <Deciles split={split} />}
          </div>
          <WorstErrors split={split} />
        </>
      )}
    </Card>
  );
}

function Classes({ split }: { split: SplitReport }): JSX.Element {
  const classes = split.classes ?? [];
  return (
    <div>
      <Bars caption="F1 of each label" most={1} bars={classes.map((one) => ({ label: one.label, value: one.f1, text: `${figure(one.f1)} of ${count(one.support)}` }))} />
      <details>
        <summary>Precision and recall</summary>
        <Scroll label="Figures of each label">
          <table>
            <thead><tr><th scope="col">Label</th><th scope="col" class="number">Precision</th><th scope="col" class="number">Recall</th><th scope="col" class="number">F1</th><th scope="col" class="number">Support</th></tr></thead>
            <tbody>
              {classes.map((one) => (
                <tr key={one.label}>
                  <th scope="row">{one.label}</th><td class="number">{figure(one.precision)}</td><td class="number">{figure(one.recall)}</td>
                  <td class="number">{figure(one.f1)}</td><td class="number">{count(one.support)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </details>
    </div>
  );
}

function ConfusionTable({ split }: { split: SplitReport }): JSX.Element {
  const { labels, counts, missed, spurious } = split.confusion!;
  return (
    <Scroll label="Confusion matrix" tall>
      <table class="confusion">
        <caption>What was taken for what: true labels down, predicted ones across</caption>
        <thead><tr><td /> {labels.map((label) => <th scope="col" key={label}><span>{label}</span></th>)}{missed && <th scope="col"><span>nothing</span></th>}</tr></thead>
        <tbody>
          {counts.map((row, index) => {
            const sum = row.reduce((a, b) => a + b, missed?.[index] ?? 0);
            return (
              <tr key={labels[index]}>
                <th scope="row">{labels[index]}</th>
                {row.map((value, column) => (
                  <td key={column} class={index === column ? "right" : "wrong"} style={{ "--share": String(sum ? value / sum : 0) }}>{value || ""}</td>
                ))}
                {missed && <td class="wrong" style={{ "--share": String(sum ? missed[index]! / sum : 0) }}>{missed[index] || ""}</td>}
              </tr>
            );
          })}
          {spurious && <tr><th scope="row">nothing</th>{spurious.map((value, column) => <td key={column}>{value || ""}</td>)}{missed && <td />}</tr>}
        </tbody>
      </table>
    </Scroll>
  );
}

function ReliabilityChart({ split }: { split: SplitReport }): JSX.Element {
  const { bins, ece } = split.reliability!;
  const filled = bins.filter((bin) => bin.count > 0);
  const x = filled.map((bin) => bin.confidence ?? bin.lower);
  return (
    <div>
      <Chart title="Can its confidence be believed?" x={x} xLabel="confidence" range={[0, 1]} xRange={[0, 1]} series={[
        { label: "right", values: filled.map((bin) => bin.accuracy), colour: "--second" },
        { label: "as it should be", values: x, colour: "--third", dashed: true },
      ]} />
      <p class="quiet">Mean gap (ECE) {percent(ece, 1)}. Below the dashed line the model is too sure.</p>
    </div>
  );
}

function Deciles({ split }: { split: SplitReport }): JSX.Element {
  const { deciles, mean_absolute_error: error } = split.scores!;
  return (
    <div>
      <Chart title="Predicted against true scores" x={deciles.map((group) => group.true_mean)} xLabel="true score, mean of a tenth of the rows" series={[
        { label: "predicted", values: deciles.map((group) => group.predicted_mean), colour: "--second" },
        { label: "as it should be", values: deciles.map((group) => group.true_mean), colour: "--third", dashed: true },
      ]} />
      <p class="quiet">On average {error.toFixed(2)} off.</p>
    </div>
  );
}

function WorstErrors({ split }: { split: SplitReport }): JSX.Element | null {
  const [all, setAll] = useState(false);
  if (!split.worst_errors.length) return null;
  const shown = all ? split.worst_errors : split.worst_errors.slice(0, 8);
  return (
    <>
      <h3>Worst errors{split.errors != null && <small> of {count(split.errors)}</small>}</h3>
      <p class="quiet">Read them: many turn out to be wrong labels in the data.</p>
      <Scroll label="Worst errors">
        <table class="rows">
          <thead><tr><th scope="col">Row</th><th scope="col">Text</th><th scope="col">True</th><th scope="col">Predicted</th></tr></thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.row}>
                <th scope="row">{one.row + 1}</th>
                <td dir="auto"><Long text={one.text} />{one.text_pair != null && <><hr /><Long text={one.text_pair} /></>}</td>
                <td>{told(one.true)}</td>
                <td>{told(one.predicted)}{typeof one.predicted === "string" && <small> {percent(one.score)}</small>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {split.worst_errors.length > shown.length && <button type="button" class="plain" onClick={() => setAll(true)}>Show all {split.worst_errors.length}</button>}
    </>
  );
}

type Told = SplitReport["worst_errors"][number]["true"];

function told(value: Told): string {
  if (typeof value === "number") return value.toFixed(2);
  if (typeof value === "string") return value;
  return value.map((one) => (typeof one === "string" ? one : `${one.text} (${one.label})`)).join(", ") || "nothing";
}

function Serving({ report }: { report: Report }): JSX.Element | null {
  const precision = report.precision;
  if (!precision) return null;
  return (
    <Card title="How it is served">
      <p>In {precision.served === "int8" ? "8 bits" : precision.served}: {precision.reason}</p>
      {Object.keys(precision.figures ?? {}).length > 0 && (
        <Scroll label="Precisions">
          <table>
            <thead><tr><th scope="col">Precision</th><th scope="col" class="number">{metricName(precision.metric ?? "score")}</th><th scope="col" class="number">ms a text</th><th scope="col" class="number">Size</th></tr></thead>
            <tbody>
              {Object.entries(precision.figures ?? {}).map(([name, one]) => (
                <tr key={name}><th scope="row">{name}</th><td class="number">{figure(one.score)}</td><td class="number">{one.milliseconds?.toFixed(1) ?? "–"}</td><td class="number">{bytes(one.size_bytes)}</td></tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </Card>
  );
}
