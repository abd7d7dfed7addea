// Curves, drawn by uPlot; each has its figures in a table, for those who cannot see it.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

export interface Series {
  label: string;
  values: (number | null)[];
  colour: "--first" | "--second" | "--third";
  dashed?: boolean;
}

interface Props {
  title: string;
  x: number[];
  xLabel: string;
  series: Series[];
  /** Where to draw a line across, and what to write beside it. */
  mark?: { at: number; label: string };
  range?: [number, number];
  xRange?: [number, number];
  /** What each x is called, where it is only a place in a row. */
  names?: { short: string; long: string }[];
}

const HEIGHT = 240;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(props: Props, width: number): uPlot.Options {
  const { names } = props;
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false, ...(props.xRange ? { range: props.xRange } : {}) }, ...(props.range ? { y: { range: props.range } } : {}) },
    axes: [{ ...axis, label: props.xLabel, labelSize: 24, size: 36, ...(names ? { incrs: STEPS, values: (_, places) => places.map((place) => names[place]?.short ?? "") } : {}) }, { ...axis, size: 48 }],
    series: [
      { label: props.xLabel },
      ...props.series.map((one) => ({
        label: one.label,
        stroke: colour(one.colour),
        width: 2,
        dash: one.dashed ? [6, 4] : [],
        spanGaps: !names, // a phase begins anew, and nothing is known of what is between
        points: { show: props.x.length < 40, size: 5 },
        value: (_: uPlot, value: number | null) => (value == null ? "–" : value.toFixed(3)),
      })),
    ],
    cursor: { drag: { x: false, y: false } },
    hooks: { draw: [(plot) => drawMark(plot, props.mark)] },
  };
}

function drawMark(plot: uPlot, mark: Props["mark"]): void {
  if (!mark) return;
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(mark.at, "x", true));
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("--accent");
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.font = `${12 * devicePixelRatio}px sans-serif`;
  ctx.textAlign = "left";
  ctx.fillText(mark.label, x + 5 * devicePixelRatio, bbox.top + 14 * devicePixelRatio);
  ctx.restore();
}

export default function Chart(props: Props): JSX.Element {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [open, setOpen] = useState(false);
  const data = [props.x, ...props.series.map((one) => one.values)] as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;
  const shape = JSON.stringify([props.title, props.series.map((one) => one.label), props.mark, props.range, props.names?.length]);

  useEffect(() => {
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(props, holder.current!.clientWidth), newest.current, holder.current!);
    };
    draw();
    const resized = new ResizeObserver(([entry]) => plot.current?.setSize({ width: entry!.contentRect.width, height: HEIGHT }));
    resized.observe(holder.current!);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("themechange", draw); // colours are read once, when it is drawn
    dark.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      removeEventListener("themechange", draw);
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [props.x.length, props.series]);

  return (
    <figure class="chart">
      <figcaption>{props.title}</figcaption>
      <div ref={holder} aria-hidden="true" />
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>Figures</summary>
        {open && <div class="scroll" role="region" aria-label={`${props.title}: figures`} tabIndex={0}>
          <table>
            <thead>
              <tr><th scope="col">{props.xLabel}</th>{props.series.map((one) => <th scope="col" class="number" key={one.label}>{one.label}</th>)}</tr>
            </thead>
            <tbody>
              {props.x.map((x, row) => (
                <tr key={row}>
                  <th scope="row">{props.names?.[row]?.long ?? Number(x.toFixed(3))}</th>
                  {props.series.map((one) => <td class="number" key={one.label}>{one.values[row]?.toFixed(4) ?? ""}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>}
      </details>
    </figure>
  );
}
