// A new job: three choices, everything else folded away, and what it will come to before it starts.
import type { JSX, TargetedInputEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Dataset, type Job, type Plan, call } from "./api";
import { rowsOf } from "./datasets";
import { about, count, phaseName, when } from "./format";
import { go, useAction, useAsked, useListed, useTitle } from "./hooks";
import { Card, Failure, Field, Loading } from "./parts";

const HEADS: Record<string, string[]> = {
  classification: ["auto", "linear", "highway_lstm", "dense_cnn"],
  tagging: ["auto", "linear", "crf", "bilstm", "bilstm_crf"],
  similarity: ["auto", "siamese", "linear", "bimpm_lite", "sim_transformer", "bimpm"],
};

type Spec = Job["spec"];
type Numbers = Spec["hyperparameters"];
/** What was asked for, as far as that is more than what would be chosen anyway. */
type Choices = Pick<Spec, "model" | "task" | "base_model" | "strategy" | "head" | "export" | "promote"> & { seed?: number; ensemble?: number; hyperparameters: Partial<Numbers> };

/** Fields of the form and where they go; what is left empty is the service's to choose. */
const NUMBERS = ["head_epochs", "head_learning_rate", "full_epochs", "full_learning_rate", "batch_size", "max_length", "patience"];

/** `dataset` is chosen first; `like` is a job whose choices are the first ones. */
export function NewJobPage({ dataset: given, like }: { dataset: string | null; like: string | null }): JSX.Element {
  const { data: earlier, error: lost } = useAsked<Job>(like && `/jobs/${like}`);
  const choices = useChoices(earlier);
  const dataset = earlier?.dataset_id ?? given;
  useTitle("New job");
  const { items: known, error } = useListed<Dataset>("/datasets?limit=100", dataset && `/datasets/${dataset}`, (one) => one.id);
  const ready = like && !choices && !lost ? undefined : known?.filter((one) => one.status === "ready");
  return (
    <>
      <h1>New job</h1>
      <Failure error={error ?? lost} />
      {choices && earlier && <p>The choices are those of <a href={`#/jobs/${earlier.id}`}>a job</a> of {when(earlier.created_at)}. Change what you like.</p>}
      {!ready && !error && <Loading what="data sets" />}
      {ready?.length === 0 && <p>A job needs a data set. <a href="#/datasets">Upload one</a> first.</p>}
      {ready && ready.length > 0 && <JobForm datasets={ready} first={dataset ?? ready[0]!.id} earlier={choices} />}
    </>
  );
}

/** The choices of an earlier job: a job knows all of its values, but not which of them somebody has chosen. */
function useChoices(job: Job | undefined): Choices | undefined {
  const [found, setFound] = useState<Choices>();
  useEffect(() => {
    if (!job) return;
    const { spec } = job;
    const keep = (usual: Spec | undefined) => setFound({
      ...spec,
      seed: spec.seed === usual?.seed ? undefined : spec.seed,
      ensemble: spec.ensemble === usual?.ensemble ? undefined : spec.ensemble,
      hyperparameters: Object.fromEntries(Object.entries(spec.hyperparameters).filter(([name, value]) => value !== usual?.hyperparameters[name as keyof Numbers])),
    });
    const body = { dataset_id: spec.dataset_id, model: spec.model, strategy: spec.strategy };
    call<Plan>("/jobs/plan", { body }).then((plan) => keep(plan.spec), () => keep(undefined)); // its data set may be gone
  }, [job]);
  return found;
}

/** An object in JSON; undefined for anything else. */
function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function requested(form: FormData): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  const hyperparameters: Record<string, unknown> = {};
  for (const [name, value] of form) {
    if (typeof value !== "string" || value === "") continue;
    if (NUMBERS.includes(name)) hyperparameters[name] = Number(value);
    else if (name === "others") Object.assign(hyperparameters, objectOf(value));
    else if (name === "precision") body["export"] = { precision: value };
    else body[name] = ["seed", "ensemble"].includes(name) ? Number(value) : value;
  }
  return Object.keys(hyperparameters).length ? { ...body, hyperparameters } : body;
}

/** Let the browser say that a field holds no object. */
function checkObject(event: TargetedInputEvent<HTMLInputElement>): void {
  const { value } = event.currentTarget;
  event.currentTarget.setCustomValidity(value === "" || objectOf(value) ? "" : 'Write an object in JSON, such as {"dropout": 0.2}');
}

function JobForm({ datasets, first, earlier }: { datasets: Dataset[]; first: string; earlier: Choices | undefined }): JSX.Element {
  const [id, setId] = useState(datasets.some((one) => one.id === first) ? first : datasets[0]!.id);
  const [body, setBody] = useState<Record<string, unknown>>({});
  const dataset = datasets.find((one) => one.id === id)!;
  const like = earlier?.task === dataset.task ? earlier : undefined;
  const { plan, error } = usePlan(body);
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
          <Field label="Name of the model" hint="A name that exists gets another version"><input name="model" required pattern="[a-z0-9]([a-z0-9._\-]*[a-z0-9])?" title="Small letters, digits, dots, hyphens and underscores" maxLength={63} defaultValue={earlier?.model ?? suggestedName(dataset.name)} /></Field>
        </div>
        {earlier && !like && <p role="status">The data set is for another task than the earlier job, so that its choices do not fit.</p>}
        <details ref={folded} open={like !== undefined}>
          <summary>Everything else has a default that fits the data</summary>
          <div onInvalidCapture={() => { if (folded.current) folded.current.open = true; }}><Fields key={dataset.task} task={dataset.task} strategy={String(body["strategy"] ?? like?.strategy ?? "hybrid")} earlier={like} usual={plan?.spec.hyperparameters} /></div>
        </details>
      </Card>
      {plan && !error && <PlanView plan={plan} />}
      <Failure error={start.error ?? error} />
      <div class="actions"><button disabled={start.busy}>Start training</button></div>
    </form>
  );
}

function suggestedName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "").slice(0, 60) || "model";
}

/** A field with a few choices; those of an empty value are the service's own. */
function Choice({ options, first, ...field }: { options: [value: string, text: string][]; first: string | undefined } & JSX.IntrinsicElements["select"]): JSX.Element {
  return <select {...field}>{options.map(([value, text]) => <option key={text} value={value} selected={value !== "" && value === first}>{text}</option>)}</select>;
}

const STRATEGIES: [string, string][] = [["", "hybrid"], ["finetune", "finetune"], ["frozen", "frozen"]];
const PRECISIONS: [string, string][] = [["", "auto"], ["int8", "8 bits"], ["fp16", "half precision, for GPUs"], ["fp32", "single precision"]];
const PROMOTIONS: [string, string][] = [["", "always"], ["if_better", "if it is better"], ["never", "never"]];

interface FieldsProps {
  task: string;
  strategy: string;
  earlier: Choices | undefined;
  /** What the service would choose, shown in the fields that are left empty. */
  usual: Numbers | undefined;
}

/** All that has a default. Numbers of a phase that the strategy has not got can be neither filled in nor sent. */
function Fields({ task, strategy, earlier, usual }: FieldsProps): JSX.Element {
  const [noHead, noFull] = [strategy === "finetune", strategy === "frozen"];
  const others = Object.fromEntries(Object.entries(earlier?.hyperparameters ?? {}).filter(([name]) => !NUMBERS.includes(name)));
  const heads = (HEADS[task] ?? []).map((head): [string, string] => [head === "auto" ? "" : head, head]);
  const number = (name: keyof Numbers): { name: string; type: "number"; placeholder: string | undefined; defaultValue: string | undefined } => {
    const [had, planned] = [earlier?.hyperparameters[name], usual?.[name]];
    return { name, type: "number", placeholder: planned == null ? undefined : String(planned), defaultValue: typeof had === "number" ? String(had) : undefined };
  };
  return (
    <div class="grid">
      <Field label="Encoder" hint="One of those that this service has"><input name="base_model" maxLength={63} placeholder="minilm-l6" defaultValue={earlier?.base_model} /></Field>
      <Field label="Strategy" hint="hybrid: the head on the frozen encoder first, then both. finetune: both at once. frozen: the head alone, which is quickest"><Choice name="strategy" options={STRATEGIES} first={earlier?.strategy} /></Field>
      <Field label="Head" hint="auto tries those that may be worth it"><Choice name="head" options={heads} first={earlier?.head} /></Field>
      <Field label="Models together" hint="Three are steadier, and take three times as long"><input name="ensemble" type="number" min={1} max={8} placeholder="1" defaultValue={earlier?.ensemble?.toString()} /></Field>
      <Field label="Served in" hint="auto: in 8 bits where it is faster and no worse"><Choice name="precision" options={PRECISIONS} first={earlier?.export.precision} /></Field>
      <Field label="Put into production" hint="Whether the new version answers the calls at once"><Choice name="promote" options={PROMOTIONS} first={earlier?.promote} /></Field>
      <Field label="Epochs of phase 1" hint="At most; it stops where it no longer gets better. 0: none"><input {...number("head_epochs")} disabled={noHead} min={0} max={1000} /></Field>
      <Field label="Epochs of phase 2" hint="At most; fewer where validation rows show no more gain"><input {...number("full_epochs")} disabled={noFull} min={1} max={200} /></Field>
      <Field label="Learning rate of phase 1" hint="Smaller is steadier and slower"><input {...number("head_learning_rate")} disabled={noHead} min={0} step="any" /></Field>
      <Field label="Learning rate of phase 2" hint="A large one forgets what the encoder knew"><input {...number("full_learning_rate")} disabled={noFull} min={0} step="any" /></Field>
      <Field label="Batch size" hint="Rows a step; a smaller one needs less memory"><input {...number("batch_size")} min={1} max={1024} /></Field>
      <Field label="Longest text" hint="In word pieces; longer ones are read in windows"><input {...number("max_length")} min={8} max={8192} /></Field>
      <Field label="Patience" hint="Epochs without a better one until a phase stops"><input {...number("patience")} min={1} max={1000} /></Field>
      <Field label="Seed" hint="The same seed gives the same model"><input name="seed" type="number" min={0} placeholder="7" defaultValue={earlier?.seed?.toString()} /></Field>
      <Field label="Other hyperparameters" hint="As JSON; the HTTP reference names them"><input name="others" placeholder='{"dropout": 0.2}' defaultValue={Object.keys(others).length ? JSON.stringify(others) : undefined} onInput={checkObject} /></Field>
    </div>
  );
}

/** What a job would do, asked for again a moment after the last change. */
function usePlan(body: Record<string, unknown>): { plan: Plan | undefined; error: ApiError | undefined } {
  const [plan, setPlan] = useState<Plan>();
  const [error, setError] = useState<ApiError>();
  const wanted = JSON.stringify(body);
  useEffect(() => {
    if (!body["model"] || !body["dataset_id"]) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      call<Plan>("/jobs/plan", { body, signal: stop.signal }).then(
        (found) => { setPlan(found); setError(undefined); },
        (reason: unknown) => reason instanceof ApiError && setError(reason),
      );
    }, 300);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [wanted]);
  return { plan, error };
}

function PlanView({ plan }: { plan: Plan }): JSX.Element {
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
