// The learning curves of both phases on one line of epochs, with the moment of the thaw marked.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { JobEvent, Report } from "./api";
import { metricName } from "./format";
import { Chart } from "./lazy";

export interface Point {
  phase: string;
  epoch: number;
  train: number | null;
  validation: number | null;
  metrics: Record<string, number>;
}

/** Of an ensemble those of the model that is learning now; of an epoch that was done again the last time. */
export function pointsOfEvents(events: JobEvent[]): Point[] {
  const begun = events.findLastIndex((event) => event.type === "message" && "member" in event.data && "members" in event.data);
  const told = events.slice(begun + 1).filter((event) => event.type === "metrics" && typeof event.data["validation_loss"] === "number");
  const points = told.map(({ data }) => ({
    phase: String(data["phase"]),
    epoch: Number(data["epoch"]),
    train: data["train_loss"] as number | null,
    validation: data["validation_loss"] as number,
    metrics: data["metrics"] as Record<string, number>,
  }));
  return [...new Map(points.map((point) => [`${point.phase} ${point.epoch}`, point])).values()];
}

export function pointsOfReport(report: Report): Point[] {
  return report.phases.filter((phase) => (phase.member ?? 1) === 1).flatMap((phase) => phase.curve.map((point) => ({
    phase: phase.name,
    epoch: point.epoch,
    train: point.train_loss,
    validation: point.validation_loss,
    metrics: point.metrics,
  })));
}

export function Curves({ points }: { points: Point[] }): JSX.Element | null {
  const drawn = useMemo(() => {
    const metric = Object.keys(points[0]?.metrics ?? {})[0];
    const thaw = points.findIndex((point) => point.phase === "full");
    const head = points.some((point) => point.phase === "head");
    return {
      metric,
      x: points.map((_, index) => index),
      names: points.map(({ phase, epoch }) => ({ short: String(epoch), long: `phase ${phase === "full" && head ? 2 : 1}, epoch ${epoch}` })),
      mark: head && thaw > 0 ? { at: thaw, label: "thaw" } : undefined,
      losses: [
        { label: "training", values: points.map((point) => point.train), colour: "--first" as const },
        { label: "validation", values: points.map((point) => point.validation), colour: "--second" as const },
      ],
      metrics: [{ label: metric ? metricName(metric) : "", values: points.map((point) => (metric ? point.metrics[metric] ?? null : null)), colour: "--third" as const }],
    };
  }, [points.length, points.at(-1)?.phase, points.at(-1)?.epoch, points.at(-1)?.validation]);
  if (!points.length) return null;
  return (
    <div class="columns">
      <Chart title="Loss" x={drawn.x} names={drawn.names} xLabel="epoch of each phase" series={drawn.losses} mark={drawn.mark} />
      {drawn.metric && <Chart title={`${metricName(drawn.metric)}, validation rows`} x={drawn.x} names={drawn.names} xLabel="epoch of each phase" series={drawn.metrics} mark={drawn.mark} />}
    </div>
  );
}
