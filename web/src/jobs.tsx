// All jobs.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Job, Page } from "./api";
import { duration, figure, metricName, percent, phaseName, telling, when } from "./format";
import { useAsked, useTitle } from "./hooks";
import { Card, Failure, Loading, Pager, Scroll, Status } from "./parts";

const ENDED = ["succeeded", "failed", "cancelled"];
export const isOver = (job: Job): boolean => ENDED.includes(job.status);

export function JobsPage(): JSX.Element {
  const [status, setStatus] = useState("");
  const [after, setAfter] = useState("");
  const { data, error } = useAsked<Page<Job>>(`/jobs?limit=50${status && `&status=${status}`}${after && `&after=${after}`}`, (page) => (page?.data.every(isOver) ? 10_000 : 2000));
  useTitle("Jobs");
  return (
    <>
      <h1>Jobs</h1>
      <p class="actions"><a class="button" href="#/jobs/new">New job</a></p>
      <Card title="All jobs" aside={
        <label><span class="unseen">Status</span>
          <select value={status} onChange={(event) => { setStatus(event.currentTarget.value); setAfter(""); }}>
            <option value="">any status</option>
            {["queued", "running", "pausing", "paused", ...ENDED].map((one) => <option key={one}>{one}</option>)}
          </select>
        </label>
      }>
        <Failure error={error} />
        {!data && !error && <Loading what="jobs" />}
        {data?.data.length === 0 && <p>None. A job trains a model on a data set.</p>}
        {data && data.data.length > 0 && <JobTable jobs={data.data} />}
        <Pager page={data} after={after} onAfter={setAfter} id={(job) => job.id} />
      </Card>
    </>
  );
}

function JobTable({ jobs }: { jobs: Job[] }): JSX.Element {
  return (
    <Scroll label="Jobs">
      <table>
        <thead>
          <tr><th scope="col">Model</th><th scope="col">Task</th><th scope="col">Status</th><th scope="col">Progress</th><th scope="col">Result</th><th scope="col">Created</th></tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <tr key={job.id}>
              <th scope="row"><a href={`#/jobs/${job.id}`}>{job.model.name}{job.model.version != null && `@${job.model.version}`}</a></th>
              <td>{job.task}</td>
              <td><Status status={job.status} /></td>
              <td>{progressOf(job)}</td>
              <td>{resultOf(job)}</td>
              <td>{when(job.created_at)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function progressOf(job: Job): JSX.Element | string {
  if (job.status === "queued") return job.waiting_reason ?? (job.queue_position ? `${job.queue_position}. in the queue` : "waiting");
  if (job.status !== "running") return "";
  return (
    <>
      <progress max={1} value={job.progress.fraction} aria-label={percent(job.progress.fraction)} />{" "}
      <small>{job.phase && phaseName(job.phase).split(":")[0]}{job.progress.eta_seconds != null && `, ${duration(job.progress.eta_seconds)} left`}</small>
    </>
  );
}

export const metricsOf = (job: Job): [string, number][] => telling(job.result?.["metrics"]);

function resultOf(job: Job): string {
  if (job.error) return job.error.message;
  return metricsOf(job).slice(0, 2).map(([name, value]) => `${metricName(name)} ${figure(value)}`).join(", ");
}
