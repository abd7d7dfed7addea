// Ask a model, and take the call away as curl, Python or JavaScript.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Answer, type Model, type Report, apiKey, call } from "./api";
import { go, useAction, useAsked, useListed, useTitle } from "./hooks";
import { Card, Copy, Dial, Failure, Field, Loading, PredictionView } from "./parts";

const SLOW = 1000;
const TOP = 10; // labels with their scores

export function PlaygroundPage({ chosen }: { chosen: string | null }): JSX.Element {
  const { items: models, error } = useListed<Model>("/models?limit=100", chosen && `/models/${encodeURIComponent(chosen.split("@")[0]!)}`, (model) => model.name);
  useTitle("Playground");
  const names = (models ?? []).flatMap((model) => [...(model.aliases["production"] == null ? [] : [model.name]), ...model.versions.map((version) => `${model.name}@${version.version}`)]);
  const [name, setName] = useState(chosen ?? "");
  const [text, setText] = useState("");
  const [other, setOther] = useState("");
  useEffect(() => {
    if (chosen) setName(chosen);
  }, [chosen]);
  useEffect(() => {
    if (!name && names[0]) setName(names[0]);
  }, [names[0]]);
  const model = models?.find((one) => one.name === name.split("@")[0]);
  return (
    <>
      <h1>Playground</h1>
      <Failure error={error} />
      {!models && !error && <Loading what="models" />}
      {models?.length === 0 && <p>There is no model yet. <a href="#/datasets">Upload a data set</a> and train one.</p>}
      {model && (
        <>
          <Field label="Model"><select value={name} onChange={(event) => go(`/playground?model=${event.currentTarget.value}`)}>{names.map((one) => <option key={one}>{one}</option>)}</select></Field>
          <Ask key={name} name={name} model={model} text={text} onText={setText} other={other} onOther={setOther} />
        </>
      )}
    </>
  );
}

/** The version that a name, with or without one, means now. */
function versionOf(name: string, model: Model): number {
  return Number(name.split("@")[1] ?? model.aliases["production"] ?? model.versions[0]?.version ?? 1);
}

interface Asked {
  answer: Answer;
  milliseconds: number;
  text: string;
}

interface AskProps {
  name: string;
  model: Model;
  text: string;
  onText: (text: string) => void;
  other: string;
  onOther: (text: string) => void;
}

function Ask({ name, model, text, onText: setText, other, onOther: setOther }: AskProps): JSX.Element {
  const pair = model.task === "similarity";
  const [asked, setAsked] = useState<Asked>();
  const input = pair ? { text, text_pair: other } : text;
  const { data: report } = useAsked<Report>(pair ? `/models/${encodeURIComponent(model.name)}/versions/${versionOf(name, model)}/report` : null);
  const labelled = pair ? report?.labels != null : model.task === "classification"; // graded pairs have no labels
  const body = labelled ? { inputs: [input], top_k: TOP } : { inputs: [input] };
  const empty = !text.trim() || (pair && !other.trim());
  const predict = useAction(async () => {
    setAsked(undefined);
    const from = performance.now();
    const answer = await call<Answer>(`/predict/${name}`, { body });
    setAsked({ answer, milliseconds: performance.now() - from, text });
  });
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !empty && !predict.busy) predict.run();
  };
  return (
    <>
      <Card title="Ask">
        <form onSubmit={(event) => { event.preventDefault(); predict.run(); }} onKeyDown={keys}>
          <Field label={pair ? "First text" : "Text"}><textarea rows={4} required dir="auto" value={text} onInput={(event) => setText(event.currentTarget.value)} /></Field>
          {pair && <Field label="Second text"><textarea rows={4} required dir="auto" value={other} onInput={(event) => setOther(event.currentTarget.value)} /></Field>}
          <div class="actions"><button disabled={predict.busy || empty}>Predict</button> <small>or Ctrl and Enter</small></div>
        </form>
        <Failure error={predict.error} />
      </Card>
      {predict.busy && <p class="quiet" role="status">Asking … A model that was not asked for a while is loaded first, and a long text takes its time.</p>}
      <div aria-live="polite">{asked && <Card title="Answer"><Shown asked={asked} name={name} /></Card>}</div>
      <Card title="The same from elsewhere">
        <p class="actions">
          <Copy text={asCurl(name, body)}>Copy as curl</Copy>
          <Copy text={asPython(name, body)}>Copy as Python</Copy>
          <Copy text={asJavaScript(name, body)}>Copy as JavaScript</Copy>
        </p>
        <pre tabIndex={0} aria-label="The call as curl">{asCurl(name, body)}</pre>
      </Card>
    </>
  );
}

function Shown({ asked, name }: { asked: Asked; name: string }): JSX.Element {
  const { answer, milliseconds, text } = asked;
  const prediction = answer.predictions[0]!;
  const graded = answer.task === "similarity" && prediction.label == null;
  return (
    <>
      {graded ? <Graded name={name.split("@")[0]!} version={answer.version} score={prediction.score ?? 0} /> : <PredictionView prediction={prediction} text={text} />}
      {prediction.truncated && <p class="quiet">The texts were too long and were cut.</p>}
      <p class="quiet">{milliseconds.toFixed(0)} ms{milliseconds > SLOW && ", the loading of the model included if it was not asked for a while"}, by {answer.model}@{answer.version}</p>
    </>
  );
}

function Graded({ name, version, score }: { name: string; version: number; score: number }): JSX.Element {
  const { data } = useAsked<Report>(`/models/${encodeURIComponent(name)}/versions/${version}/report`);
  const [low, high] = data?.score_range ?? [0, 1];
  return <Dial value={score} low={low} high={high} />;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function asCurl(name: string, body: object): string {
  const key = apiKey.get() ? ' \\\n  -H "Authorization: Bearer $THAWLINE_API_KEY"' : "";
  return `curl ${location.origin}/predict/${name} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(body))}`;
}

function asPython(name: string, body: { inputs: unknown[] }): string {
  const options = "top_k" in body ? `, top_k=${String((body as { top_k: number }).top_k)}` : "";
  return `import thawline\n\nclient = thawline.Client(${JSON.stringify(location.origin)})\nprint(client.model(${JSON.stringify(name)}).predict(${JSON.stringify(body.inputs)}${options}))\n`;
}

function asJavaScript(name: string, body: object): string {
  const key = apiKey.get() ? ", Authorization: `Bearer ${process.env.THAWLINE_API_KEY}`" : "";
  return `const response = await fetch(${JSON.stringify(`${location.origin}/predict/${name}`)}, {\n  method: "POST",\n  headers: { "Content-Type": "application/json"${key} },\n  body: JSON.stringify(${JSON.stringify(body)}),\n});\nconsole.log(JSON.stringify((await response.json()).predictions, null, 2));\n`;
}
