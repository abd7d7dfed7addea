// One data set: what is in it, what is wrong with it, and what it looks like.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Dataset, type Page, type Problem, type Spread, type Statistics, call } from "./api";
import { rowsOf } from "./datasets";
import { bytes, count, figure, percent, when } from "./format";
import { go, useAction, useAsked, useTitle } from "./hooks";
import { Bars, Card, Facts, Failure, Loading, Long, type Mark, Marked, Problems, Save, Scroll, Status, Sure, Warnings } from "./parts";

/** `again`: somebody has just uploaded it once more. */
export function DatasetPage({ id, again }: { id: string; again: boolean }): JSX.Element {
  const { data, error } = useAsked<Dataset>(`/datasets/${id}`, (dataset) => (dataset?.status === "validating" ? 1000 : undefined));
  const remove = useAction(async () => {
    await call(`/datasets/${id}`, { method: "DELETE" });
    go("/datasets");
  });
  useTitle(data?.name ?? "Data set");
  if (!data) return error ? <Failure error={error} /> : <Loading what="the data set" />;
  return (
    <>
      <h1>{data.name} {data.status !== "ready" && <Status status={data.status} />}</h1>
      {again && <p class="success" role="status">The very same upload was stored before, on {when(data.created_at)}: this is that data set. Nothing was stored twice.</p>}
      {data.status === "validating" && <p role="status"><progress aria-label="Reading" /> {count(data.rows_read)} rows read. You may leave this page.</p>}
      {data.status === "invalid" && <Invalid dataset={data} />}
      {data.status === "ready" && <p class="actions"><a class="button" href={`#/jobs/new?dataset=${id}`}>Train a model on it</a></p>}
      <Failure error={remove.error} />
      {data.status === "ready" && <Ready dataset={data} />}
      <p><Sure question="Delete the data set and its files?" busy={remove.busy} onSure={remove.run}>Delete</Sure></p>
    </>
  );
}

function Invalid({ dataset }: { dataset: Dataset }): JSX.Element {
  return (
    <div class="failure" role="alert">
      <p>{count(dataset.error_count)} problem(s) keep it from being used. Mend the file, and upload it again.</p>
      <Problems problems={dataset.errors ?? []} caption="What is wrong, and where" />
    </div>
  );
}

function Ready({ dataset }: { dataset: Dataset }): JSX.Element {
  const cut = dataset.splits["validation"]?.source === "auto";
  return (
    <>
      {dataset.warnings.length > 0 && <Card title="Worth knowing"><Warnings warnings={dataset.warnings} /></Card>}
      {dataset.skipped_rows > 0 && <Skipped dataset={dataset} />}
      <Card title="At a glance">
        <Facts facts={[
          ["Task", dataset.multi_label ? `${dataset.task}, several labels` : dataset.task],
          ["Rows", rowsOf(dataset) + (cut ? "; the validation rows were cut off the training rows" : "")],
          ["Format", `${dataset.format}, ${bytes(dataset.size_bytes)}`],
          ["Columns", Object.entries(dataset.columns).map(([ours, theirs]) => (ours === theirs ? ours : `${ours} = ${theirs}`)).join(", ") || "–"],
          ["Uploaded", when(dataset.created_at)],
          ["SHA-256", <code>{dataset.sha256.slice(0, 16)}…</code>],
        ]} />
      </Card>
      <Figures dataset={dataset} />
      <Preview dataset={dataset} />
      <Card title="Save a copy">
        <p class="actions">
          {Object.keys(dataset.splits).flatMap((split) => ["jsonl", "csv"].map((format) => (
            <Save key={split + format} path={`/datasets/${dataset.id}/export?split=${split}&format=${format}`} name={`${dataset.name}-${split}.${format}`}>{split}.{format}</Save>
          )))}
        </p>
      </Card>
    </>
  );
}

function Skipped({ dataset }: { dataset: Dataset }): JSX.Element {
  const { data, error } = useAsked<Page<Problem>>(`/datasets/${dataset.id}/skipped?limit=100`);
  return (
    <Card title="Left out">
      <Failure error={error} />
      {data && <Problems problems={data.data} caption={`${count(dataset.skipped_rows)} row(s) are wrong and were left out`} />}
    </Card>
  );
}

function Figures({ dataset }: { dataset: Dataset }): JSX.Element {
  const [encoder, setEncoder] = useState("");
  const [split, setSplit] = useState("train");
  const query = encoder ? `?encoder=${encodeURIComponent(encoder)}` : "";
  const { data, error } = useAsked<Statistics>(`/datasets/${dataset.id}/statistics${query}`);
  const found = data?.splits[split];
  const labels = found?.labels.filter((one) => dataset.task !== "tagging" || one.label !== "O") ?? [];
  return (
    <Card title="Labels and lengths" aside={<SplitChoice dataset={dataset} split={split} onSplit={setSplit} />}>
      <Failure error={error} />
      {!data && !error && <Loading what="statistics" />}
      {found && (
        <div class="columns">
          {labels.length > 0 && <Bars caption={`Rows of each label (${count(found.rows)} in all)`} bars={labels.map((one) => ({ label: one.label, value: one.rows, text: `${count(one.rows)} (${percent(one.rows / found.rows)})` }))} />}
          {found.scores && <Bars whole caption={`Rows of each range of scores, ${figure(found.scores.mean)} on average`} bars={found.scores.histogram.map((bin) => ({ label: `${figure(bin.lower)} to ${figure(bin.upper)}`, value: bin.rows, text: count(bin.rows) }))} />}
          <Lengths caption="Characters of a row" spread={found.characters} />
          {found.word_pieces ? (
            <div>
              <Lengths caption={`Word pieces of ${encoder}`} spread={found.word_pieces} />
              <p>{found.word_pieces.longer_than_encoder.rows
                ? `${count(found.word_pieces.longer_than_encoder.rows)} of ${count(found.word_pieces.counted_rows)} rows are longer than the ${count(found.word_pieces.longer_than_encoder.max_length)} that the encoder reads at once.`
                : `All rows fit into the ${count(found.word_pieces.longer_than_encoder.max_length)} that the encoder reads at once.`}</p>
            </div>
          ) : (
            <p><button type="button" class="plain" onClick={() => setEncoder("minilm-l6")}>Count the encoder's word pieces, too</button></p>
          )}
        </div>
      )}
    </Card>
  );
}

function Lengths({ caption, spread }: { caption: string; spread: Spread }): JSX.Element {
  return (
    <div>
      <Bars whole caption={caption} bars={spread.histogram.map((bin) => ({ label: `up to ${count(bin.up_to)}`, value: bin.rows, text: count(bin.rows) }))} />
      <p class="quiet">median {count(spread.median)}, 95 % up to {count(spread.p95)}, longest {count(spread.max)}</p>
    </div>
  );
}

function SplitChoice({ dataset, split, onSplit }: { dataset: Dataset; split: string; onSplit: (split: string) => void }): JSX.Element {
  return (
    <label><span class="unseen">Rows</span>
      <select value={split} onChange={(event) => onSplit(event.currentTarget.value)}>
        {Object.keys(dataset.splits).map((name) => <option key={name}>{name}</option>)}
      </select>
    </label>
  );
}

type Row = Record<string, unknown> & { text?: string; entities?: Mark[] };
const ROWS = 10;

function Preview({ dataset }: { dataset: Dataset }): JSX.Element {
  const [split, setSplit] = useState("train");
  const [after, setAfter] = useState(0);
  const { data, error } = useAsked<Page<Row>>(`/datasets/${dataset.id}/preview?split=${split}&limit=${ROWS}&after=${after}`);
  return (
    <Card title="Rows" aside={<SplitChoice dataset={dataset} split={split} onSplit={(chosen) => { setSplit(chosen); setAfter(0); }} />}>
      <Failure error={error} />
      {data && (dataset.task === "tagging" ? data.data.map((row, index) => <TaggedRow key={after + index} row={row} />) : <PlainRows rows={data.data} first={after} />)}
      <p class="actions">
        <button type="button" class="plain" disabled={after === 0} onClick={() => setAfter(Math.max(0, after - ROWS))}>Earlier</button>
        <button type="button" class="plain" disabled={!data?.has_more} onClick={() => setAfter(after + ROWS)}>Later</button>
      </p>
    </Card>
  );
}

function TaggedRow({ row }: { row: Row }): JSX.Element {
  const entities = row.entities ?? [];
  if (entities.length || !Array.isArray(row["tags"]) || row["tags"].every((tag) => tag === "O")) return <Marked text={row.text ?? ""} marks={entities} />;
  const tokens = row["tokens"] as string[];
  return <p class="text" dir="auto">{tokens.map((token, index) => <span class="word" key={index}>{token}<small>{(row["tags"] as string[])[index]}</small></span>)}</p>;
}

function PlainRows({ rows, first }: { rows: Row[]; first: number }): JSX.Element {
  const names = Object.keys(rows[0] ?? {});
  return (
    <Scroll label="Rows">
      <table class="rows">
        <thead><tr><th scope="col">Row</th>{names.map((name) => <th scope="col" key={name}>{name}</th>)}</tr></thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}><th scope="row">{first + index + 1}</th>{names.map((name) => <td key={name} dir="auto"><Long text={Array.isArray(row[name]) ? (row[name] as string[]).join(", ") : String(row[name])} /></td>)}</tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
