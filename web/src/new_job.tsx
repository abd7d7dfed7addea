// A new job: three choices, everything else folded away, and what it will come to before it starts.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Dataset, type Job, type Page, type Plan, call } from "./api";
import { rowsOf } from "./datasets";
import { about, count, phaseName } from "./format";
import { go, useAction, useAsked } from "./hooks";
import { Card, Failure, Field, Loading } from "./parts";

const HEADS: Record<string, string[]> = {
  classification: ["auto", "linear", "highway_lstm", "dense_cnn"],
  tagging: ["auto", "linear", "crf", "bilstm", "bilstm_crf"],
  similarity: ["auto", "siamese", "linear", "bimpm_lite", "sim_transformer", "bimpm"],
};

/** Fields of the form and where they go; what is left empty is the service's to choose. */
const NUMBERS = ["head_epochs", "head_learning_rate", "full_epochs", "full_learning_rate", "batch_size", "max_length", "patience"];

export function NewJobPage({ dataset }: { dataset: string | null }): JSX.Element {
  const { data, error } = useAsked<Page<Dataset>>("/datasets?limit=100");
  const { data: wanted, error: missing } = useAsked<Dataset>(dataset && `/datasets/${dataset}`);
  const known = data && (!dataset || wanted || missing) ? [...(wanted ? [wanted] : []), ...data.data.filter((one) => one.id !== wanted?.id)] : undefined;
  const ready = known?.filter((one) => one.status === "ready");
  return (
    <>
      <h1>New job</h1>
      <Failure error={error ?? missing} />
      {!ready && !error && <Loading what="data sets" />}
      {ready?.length === 0 && <p>A job needs a data set. <a href="#/datasets">Upload one</a> first.</p>}
      {ready && ready.length > 0 && <JobForm datasets={ready} first={dataset ?? ready[0]!.id} />}
    </>
  );
}

function requested(form: FormData): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  const hyperparameters: Record<string, unknown> = {};
  for (const [name, value] of form) {
    if (typeof value !== "string" || value === "") continue;
    if (NUMBERS.includes(name)) hyperparameters[name] = Number(value);
    else if (name === "precision") body["export"] = { precision: value };
    else body[name] = ["seed", "ensemble"].includes(name) ? Number(value) : value;
  }
  return Object.keys(hyperparameters).length ? { ...body, hyperparameters } : body;
}

function JobForm({ datasets, first }: { datasets: Dataset[]; first: string }): JSX.Element {
  const [id, setId] = useState(datasets.some((one) => one.id === first) ? first : datasets[0]!.id);
  const [body, setBody] = useState<Record<string, unknown>>({});
  const dataset = datasets.find((one) => one.id === id)!;
  const start = useAction(async (wanted: Record<string, unknown>) => go(`/jobs/${(await call<Job>("/jobs", { body: wanted })).id}`));
  const folded = useRef<HTMLDetailsElement>(null);
  const form = useRef<HTMLFormElement>(null);
  const changed = () => {
    setBody(requested(new FormData(form.current!)));
    start.forget();
  };
  useEffect(changed, [id]); // after the choices have become those of the task
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    start.run(requested(new FormData(event.currentTarget as HTMLFormElement)));
  };
  return (
    <form onSubmit={submit} onInput={changed} ref={form}>
      <Card title="What to train">
        <div class="grid">
          <Field label="Data set" hint={rowsOf(dataset)}><select name="dataset_id" value={id} onChange={(event) => setId(event.currentTarget.value)}>
              {datasets.map((one) => <option key={one.id} value={one.id}>{one.name} ({one.task})</option>)}
            </select></Field>
          <div>Task <p class="given">{dataset.task}{dataset.multi_label && ", several labels"}</p><small>As the data set says</small></div>
          <Field label="Name of the model" hint="A name that exists gets another version"><input name="model" required pattern="[a-z0-9]([a-z0-9._\-]*[a-z0-9])?" title="Small letters, digits, dots, hyphens and underscores" maxLength={63} defaultValue={suggestedName(dataset.name)} /></Field>
        </div>
        <details ref={folded}>
          <summary>Everything else has a default that fits the data</summary>
          <div onInvalidCapture={() => { if (folded.current) folded.current.open = true; }}><Choices key={dataset.task} task={dataset.task} /></div>
        </details>
      </Card>
      <PlanView body={body} />
      <Failure error={start.error} />
      <div class="actions"><button disabled={start.busy}>Start training</button></div>
    </form>
  );
}

function suggestedName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "").slice(0, 60) || "model";
}

function Choices({ task }: { task: string }): JSX.Element {
  return (
    <div class="grid">
      <Field label="Encoder" hint="One of those that this service has"><input name="base_model" maxLength={63} placeholder="minilm-l6" /></Field>
      <Field label="Strategy" hint="hybrid: the head on the frozen encoder first, then both. finetune: both at once. frozen: the head alone, which is quickest"><select name="strategy"><option value="">hybrid</option><option value="finetune">finetune</option><option value="frozen">frozen</option></select></Field>
      <Field label="Head" hint="auto tries those that may be worth it"><select name="head">{HEADS[task]?.map((head) => <option key={head} value={head === "auto" ? "" : head}>{head}</option>)}</select></Field>
      <Field label="Models together" hint="Three are steadier, and take three times as long"><input name="ensemble" type="number" min={1} max={8} placeholder="1" /></Field>
      <Field label="Served in" hint="auto: in 8 bits where it is faster and no worse"><select name="precision"><option value="">auto</option><option value="int8">8 bits</option><option value="fp32">single precision</option></select></Field>
      <Field label="Put into production" hint="Whether the new version answers the calls at once"><select name="promote"><option value="">always</option><option value="if_better">if it is better</option><option value="never">never</option></select></Field>
      <Field label="Epochs of phase 1" hint="At most; it stops where it no longer gets better. 0: none"><input name="head_epochs" type="number" min={0} max={1000} placeholder="by the number of rows" /></Field>
      <Field label="Epochs of phase 2"><input name="full_epochs" type="number" min={1} max={200} placeholder="by the number of rows" /></Field>
      <Field label="Learning rate of phase 1"><input name="head_learning_rate" type="number" min={0} step="any" placeholder="0.0002" /></Field>
      <Field label="Learning rate of phase 2"><input name="full_learning_rate" type="number" min={0} step="any" placeholder="0.0001" /></Field>
      <Field label="Batch size"><input name="batch_size" type="number" min={1} max={1024} placeholder="by the number of rows" /></Field>
      <Field label="Longest text" hint="In word pieces; longer ones are read in windows"><input name="max_length" type="number" min={8} max={8192} placeholder="by the texts" /></Field>
      <Field label="Seed" hint="The same seed gives the same model"><input name="seed" type="number" min={0} placeholder="7" /></Field>
    </div>
  );
}

/** What the job will do, asked for again a moment after the last change. */
function PlanView({ body }: { body: Record<string, unknown> }): JSX.Element | null {
  const [plan, setPlan] = useState<Plan>();
  const [error, setError] = useState<ApiError>();
  const wanted = JSON.stringify(body);
  useEffect(() => {
    if (!body["model"] || !body["dataset_id"]) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      call<Plan>("/jobs/plan", { body, signal: stop.signal }).then(
        (found) => { setPlan(found); setError(undefined); },
        (reason: unknown) => { if (reason instanceof ApiError) { setPlan(undefined); setError(reason); } },
      );
    }, 300);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [wanted]);
  if (error) return <Failure error={error} />;
  if (!plan) return null;
  return (
    <Card title="What it will do">
      <ol class="plan">
        {plan.steps.map((step, index) => <li key={index}><strong>{phaseName(step.phase)}</strong>: {step.description}</li>)}
      </ol>
      <p role="status">
        {count(plan.rows)} training rows, for version {plan.version} of {plan.spec.model}{plan.spec.promote === "always" && ", which then answers its calls"}. {plan.estimate ? `About ${about(plan.estimate.low_seconds, plan.estimate.high_seconds)}, ${plan.estimate.basis}.` : "How long it takes is known once a job with this encoder has run here."}
        {plan.queue_length > 0 && ` ${count(plan.queue_length)} job(s) wait before it.`}
      </p>
    </Card>
  );
}
