// One job: live while it runs, and what came of it.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, type Job, type JobEvent, call, jobEvents } from "./api";
import { Curves, pointsOfEvents } from "./curves";
import { duration, figure, metricName, percent, phaseName, when } from "./format";
import { go, useAction, useAsked, useTitle } from "./hooks";
import { isOver, metricsOf } from "./jobs";
import { Away, Bars, Card, Facts, Failure, Loading, Status, Sure } from "./parts";
import { ReportView } from "./report";

/** Events as they come; the first of them are those that were missed. */
function useEvents(jobId: string): { events: JobEvent[]; error: ApiError | undefined } {
  const [events, setEvents] = useState<JobEvent[]>([]);
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    const stop = new AbortController();
    const listen = async () => {
      for await (const batch of jobEvents(jobId, stop.signal)) setEvents((before) => [...before, ...batch]);
    };
    listen().catch((reason: unknown) => reason instanceof ApiError && setError(reason));
    return () => stop.abort();
  }, [jobId]);
  return { events, error };
}

export function JobPage({ id }: { id: string }): JSX.Element {
  const { data: job, error, reload } = useAsked<Job>(`/jobs/${id}`, (one) => (one && isOver(one) ? undefined : 1000));
  const { events, error: lost } = useEvents(id);
  useTitle(job ? `${job.model.name}, ${job.status}` : "Job");
  if (!job) return error ? <Failure error={error} /> : <Loading what="the job" />;
  const model = job.model.version == null ? null : `${job.model.name}@${job.model.version}`;
  return (
    <>
      <h1 aria-live="polite">{job.model.name} <Status status={job.status} /></h1>
      <Away error={error} />
      <Now job={job} events={events} stale={error !== undefined} />
      <Controls job={job} changed={reload} />
      {job.error && <Failed job={job} />}
      {model && (
        <p class="success">
          <strong>{model}</strong> is ready.{" "}
          {metricsOf(job).map(([name, value]) => `${metricName(name)} ${figure(value)}`).join(", ")}{" "}
          <a class="button" href={`#/playground?model=${model}`}>Try it</a> <a href={`#/models/${job.model.name}`}>All versions</a>
        </p>
      )}
      <Failure error={lost} />
      {events.some((event) => event.type === "metrics") && <Card title="Learning curves"><Curves points={pointsOfEvents(events)} /></Card>}
      <Heads events={events} />
      {model && <ReportView model={job.model.name} version={job.model.version!} curves={false} />}
      <Card title="What happened"><Events events={events} /></Card>
      <Card title="What was asked for">
        <Facts facts={[
          ["Data set", <a href={`#/datasets/${job.dataset_id}`}>{job.dataset_id}</a>],
          ["Task", job.task],
          ["Strategy", job.spec.strategy],
          ["Head", job.spec.head],
          ["Encoder", job.spec.base_model ?? "–"],
          ["Created", when(job.created_at)],
          ["Started", job.started_at ? when(job.started_at) : "–"],
          ["Ended", job.finished_at ? when(job.finished_at) : "–"],
        ]} />
        <details><summary>All hyperparameters</summary><pre>{JSON.stringify(job.spec, null, 2)}</pre></details>
      </Card>
    </>
  );
}

/** How far the trials of heads are, of which the progress knows nothing. */
function trialsOf(events: JobEvent[]): string {
  const begun = events.findLastIndex((event) => Array.isArray(event.data["trying"]));
  if (begun < 0) return "";
  const all = (events[begun]!.data["trying"] as unknown[]).length;
  const done = events.slice(begun).filter((event) => isTrial(event.data)).length;
  return done < all ? `, trying head ${done + 1} of ${all}` : "";
}

function Now({ job, events, stale }: { job: Job; events: JobEvent[]; stale: boolean }): JSX.Element | null {
  if (isOver(job)) return null;
  const { fraction, epoch, epochs, eta_seconds: eta } = job.progress;
  const learning = job.phase === "head" || job.phase === "full";
  const ending = job.phase === "export" || job.phase === "evaluate"; // moments, of which nobody knows how many
  const waiting = job.waiting_reason ?? (job.queue_position ? `It is number ${job.queue_position} in the queue.` : "It waits for a worker.");
  return (
    <div class={stale ? "now stale" : "now"}>
      <progress max={1} value={job.status === "queued" ? undefined : fraction} aria-label="Progress of the job" />
      <p>
        {job.status === "queued" && waiting}
        {job.status === "pausing" && "It writes down what it has learnt, and then makes room."}
        {job.status === "paused" && "Paused; what was learnt is kept."}
        {job.status === "running" && (
          <>
            {job.phase ? phaseName(job.phase) : "Starting"}
            {job.phase === "prepare" && trialsOf(events)}
            {learning && epoch != null && epochs != null && `, epoch ${epoch} of at most ${epochs}`}, {percent(fraction ?? 0)}
            {!ending && eta != null && eta >= 1 && `, about ${duration(eta)} left`}
            {job.cancel_requested && ". It is being cancelled."}
          </>
        )}
      </p>
    </div>
  );
}

function Controls({ job, changed }: { job: Job; changed: () => void }): JSX.Element {
  const ask = useAction(async (what: string) => {
    const answer = await call<Job>(`/jobs/${job.id}/${what}`, { method: "POST" });
    if (what === "retry") go(`/jobs/${answer.id}`);
    else changed();
  });
  useEffect(() => {
    if (ask.error?.status === 0) ask.forget(); // the service is there again, as this news of the job tells
  }, [job]);
  return (
    <>
      <p class="actions">
        {["queued", "running"].includes(job.status) && <button type="button" class="plain" disabled={ask.busy} onClick={() => ask.run("pause")}>Pause</button>}
        {["paused", "pausing"].includes(job.status) && <button type="button" disabled={ask.busy} onClick={() => ask.run("resume")}>Resume</button>}
        {!isOver(job) && <Sure question="Cancel the job? What it has learnt is lost." busy={ask.busy} onSure={() => ask.run("cancel")}>Cancel</Sure>}
        {["failed", "cancelled"].includes(job.status) && <button type="button" disabled={ask.busy} onClick={() => ask.run("retry")}>Try again</button>}
        {isOver(job) && <a href={`#/jobs/new?like=${job.id}`}>Change something and train again</a>}
      </p>
      <Failure error={ask.error} />
    </>
  );
}

const ADVICE: Record<string, string> = {
  out_of_memory: "Choose a smaller batch size or maximum length, or fewer jobs at a time on this machine.",
  attempts_exhausted: "Its worker died several times. Look at the worker's log, and whether the machine has memory enough; then try again.",
  diverged: "Choose a smaller learning rate, and look for rows that are far from all others.",
};

function Failed({ job }: { job: Job }): JSX.Element {
  const error = job.error!;
  return (
    <div class="failure" role="alert">
      <p><strong>{error.message}</strong> <small>({error.code})</small></p>
      <p>{ADVICE[error.code] ?? "The events below say what happened before. “Try again” starts another job that does the same; “Change something” lets you choose first."}</p>
    </div>
  );
}

interface Trial {
  head: string;
  metric: string;
  score: number;
}

const isTrial = (data: object): data is Trial => "head" in data && typeof data.head === "string" && "score" in data && typeof data.score === "number";

/** What `auto` has tried. */
function Heads({ events }: { events: JobEvent[] }): JSX.Element | null {
  const trials = events.map((event): object => event.data).filter(isTrial);
  if (trials.length < 2) return null;
  const chosen = events.map((event) => /^chosen head: (\S+)/.exec(event.message)?.[1]).findLast((name) => name !== undefined);
  const ranked = [...new Map(trials.map((trial) => [trial.head, trial])).values()].sort((a, b) => b.score - a.score);
  return (
    <Card title={chosen ? "Heads that were tried" : "Heads, as far as they were tried"}>
      <p class="quiet">Of those that are not clearly worse than the best one, the simplest is chosen.</p>
      <Bars caption={`${metricName(ranked[0]!.metric)} on validation rows, encoder frozen`} most={Math.max(1, ranked[0]!.score)} bars={ranked.map((trial) => ({ label: trial.head === chosen ? `${trial.head} (chosen)` : trial.head, value: trial.score, text: figure(trial.score) }))} />
    </Card>
  );
}

const SHOWN = 50;

function Events({ events }: { events: JobEvent[] }): JSX.Element {
  const [all, setAll] = useState(false);
  const shown = (all ? events : events.slice(-SHOWN)).toReversed(); // the newest first
  return (
    <>
      {events.length > shown.length && <button type="button" class="plain" onClick={() => setAll(true)}>Show all {events.length}</button>}
      <ol class="events" aria-label="Events" tabIndex={0}>
        {shown.map((event) => (
          <li key={event.id} class={event.level}><time dateTime={event.created_at}>{new Date(event.created_at).toLocaleTimeString()}</time> {event.message}</li>
        ))}
      </ol>
      {!events.length && <p class="quiet">Nothing yet.</p>}
    </>
  );
}
