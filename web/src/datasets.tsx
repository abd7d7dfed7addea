// All data sets, and the way to a new one.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Dataset, type Page, type Validation, send } from "./api";
import { bytes, count, percent, when } from "./format";
import { go, useAction, useAsked, useTitle } from "./hooks";
import { Card, Failure, Field, Loading, Pager, Problems, Scroll, Status, Warnings } from "./parts";

export function DatasetsPage(): JSX.Element {
  const [after, setAfter] = useState("");
  const { data, error } = useAsked<Page<Dataset>>(`/datasets?limit=50${after && `&after=${after}`}`, (page) => (page?.data.some((one) => one.status === "validating") ? 1500 : undefined));
  useTitle("Data sets");
  return (
    <>
      <h1>Data sets</h1>
      <Upload />
      <Card title="Uploaded">
        <Failure error={error} />
        {!data && !error && <Loading what="data sets" />}
        {data?.data.length === 0 && <p>None yet. A data set is a file of texts with their labels: a spreadsheet will do.</p>}
        {data && data.data.length > 0 && <DatasetTable datasets={data.data} />}
        <Pager page={data} after={after} onAfter={setAfter} id={(one) => one.id} />
      </Card>
    </>
  );
}

function DatasetTable({ datasets }: { datasets: Dataset[] }): JSX.Element {
  return (
    <Scroll label="Data sets">
      <table>
        <thead>
          <tr><th scope="col">Name</th><th scope="col">Task</th><th scope="col">Rows</th><th scope="col">Labels</th><th scope="col">Warnings</th><th scope="col">Uploaded</th></tr>
        </thead>
        <tbody>
          {datasets.map((one) => (
            <tr key={one.id}>
              <th scope="row"><a href={`#/datasets/${one.id}`}>{one.name}</a></th>
              <td>{one.task}</td>
              <td>{one.status === "ready" ? rowsOf(one) : <Status status={one.status} />}</td>
              <td class="labels">{one.labels.slice(0, 4).map((label) => label.label).join(", ")}{one.labels.length > 4 && ` and ${one.labels.length - 4} more`}</td>
              <td>{one.warnings.length || ""}</td>
              <td>{when(one.created_at)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

export function rowsOf(dataset: Pick<Dataset, "splits">): string {
  return Object.entries(dataset.splits).map(([split, { rows }]) => `${split} ${count(rows)}`).join(", ");
}

const STORED_BEFORE = 200;
const MENDED_HERE = ["missing_column", "unknown_column", "not_utf8", "wrong_encoding"]; // by what is folded away in the form

/** As the service takes it, who may also be given what it takes itself: `text=body, label=kind`. */
function columnsOf(text: string): string {
  if (text.trim().startsWith("{")) return text;
  return JSON.stringify(Object.fromEntries(text.split(",").map((pair) => pair.split("=", 2).map((part) => part.trim()))));
}

const TASKS = [
  ["classification", "Classification", "a label for each text, or several"],
  ["tagging", "Tagging", "names and other places within texts, or a tag for each word"],
  ["similarity", "Similarity", "how alike two texts are"],
] as const;

function Upload(): JSX.Element {
  const [files, setFiles] = useState<Record<string, File>>({});
  const [share, setShare] = useState<number>();
  const [tried, setTried] = useState<Validation>();
  const form = useRef<HTMLFormElement>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []); // whoever leaves does not want it
  useEffect(() => {
    const keep = (event: DragEvent) => event.preventDefault(); // a drop beside the area would else open the file in place of the page
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    return () => { removeEventListener("dragover", keep); removeEventListener("drop", keep); };
  }, []);
  const upload = useAction(async (path: string) => {
    const body = new FormData();
    for (const [name, value] of new FormData(form.current!)) if (typeof value === "string" && value !== "") body.append(name, name === "columns" ? columnsOf(value) : value);
    for (const [name, file] of Object.entries(files)) body.append(name, file);
    setTried(undefined);
    setShare(0);
    stop.current = new AbortController();
    const { signal } = stop.current;
    try {
      if (path === "/datasets") {
        const { status, body: dataset } = await send<Dataset>(path, body, setShare, signal);
        go(`/datasets/${dataset.id}${status === STORED_BEFORE ? "?again" : ""}`);
      } else setTried((await send<Validation>(path, body, setShare, signal)).body);
    } finally {
      setShare(undefined);
    }
  });
  const choose = (name: string, file: File | undefined) => {
    setTried(undefined);
    setFiles((before) => {
      const { [name]: _, ...others } = before;
      return file ? { ...others, [name]: file } : others;
    });
  };
  return (
    <Card title="New data set">
      <form ref={form} onSubmit={(event) => { event.preventDefault(); upload.run("/datasets"); }}>
        <fieldset class="choices">
          <legend>What should the model do?</legend>
          {TASKS.map(([value, name, what], index) => (
            <label key={value}><input type="radio" name="task" value={value} defaultChecked={index === 0} /> <span><strong>{name}</strong><small>{what}</small></span></label>
          ))}
        </fieldset>
        <Drop file={files["file"]} onFile={(file) => choose("file", file)} />
        <details open={upload.error?.problems.some((problem) => MENDED_HERE.includes(problem.code))}>
          <summary>More files, names of columns, other encodings</summary>
          <div class="grid">
            <FileField name="validation_file" label="Validation file" hint="Without one, rows are cut off the training file" onFile={choose} />
            <FileField name="test_file" label="Test file" hint="Rows that only the finished model sees" onFile={choose} />
            <Field label="Name" hint="By default the file's"><input name="name" maxLength={200} /></Field>
            <Field label="Columns" hint="Only if they are not found: our names, and yours"><input name="columns" placeholder="text=body, label=kind" /></Field>
            <Field label="Between several labels" hint="If a row may have several labels"><input name="label_separator" maxLength={3} placeholder="|" /></Field>
            <Field label="Encoding" hint="Such as cp1252, if the file is not UTF-8"><input name="encoding" placeholder="utf-8" /></Field>
            <Field label="Rows that are wrong"><select name="on_error"><option value="refuse">refuse the file</option><option value="skip">leave them out, and list them</option></select></Field>
          </div>
        </details>
        <div class="actions">
          <button disabled={!files["file"] || upload.busy}>Upload</button>
          <button type="button" class="plain" disabled={!files["file"] || upload.busy} onClick={() => upload.run("/datasets/validate")}>Only check it</button>
          {share !== undefined && (
            <span role="status">
              <progress max={1} value={share < 1 ? share : undefined} aria-label="Upload" /> {share < 1 ? percent(share) : "reading the rows …"}{" "}
              <button type="button" class="plain" onClick={() => stop.current.abort()}>Stop</button>
            </span>
          )}
        </div>
      </form>
      <Failure error={upload.error} />
      {tried && <Tried tried={tried} />}
    </Card>
  );
}

/** What an upload would come to. */
function Tried({ tried }: { tried: Validation }): JSX.Element {
  return (
    <div role="status" class={tried.valid ? "success" : "failure"}>
      <p>{tried.valid ? `It would be taken: ${rowsOf(tried)}` : `It would be refused: ${count(tried.error_count)} problem(s).`}</p>
      {tried.errors.length > 0 && <Problems problems={tried.errors} caption="What is wrong, and where" />}
      {tried.skipped.length > 0 && <Problems problems={tried.skipped} caption={`${count(tried.skipped_rows)} row(s) would be left out`} />}
      <Warnings warnings={tried.warnings} />
    </div>
  );
}

function Drop({ file, onFile }: { file: File | undefined; onFile: (file: File | undefined) => void }): JSX.Element {
  const [over, setOver] = useState(false);
  const [many, setMany] = useState(false);
  const dropped = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const dropped = event.dataTransfer?.files;
    onFile(dropped?.length === 1 ? dropped[0] : undefined);
    setMany((dropped?.length ?? 0) > 1);
  };
  return (
    <label class={over ? "drop over" : "drop"} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={dropped}>
      <input type="file" class="unseen" onClick={(event) => { event.currentTarget.value = ""; }} onChange={(event) => onFile(event.currentTarget.files?.[0])} />
      {file ? <span><strong>{file.name}</strong>, {bytes(file.size)}</span> : <span><strong>Drop a file here</strong>, or choose one{many && ": one at a time; others have their places below"}</span>}
      <small>CSV, Excel, JSON, Parquet, Arrow or CoNLL; as it is, or packed</small>
    </label>
  );
}

function FileField(props: { name: string; label: string; hint: string; onFile: (name: string, file: File | undefined) => void }): JSX.Element {
  return (
    <Field label={props.label} hint={props.hint}>
      <input type="file" onChange={(event) => props.onFile(props.name, event.currentTarget.files?.[0])} />
    </Field>
  );
}
