// Small pieces that several pages are made of.
import { cloneElement, type ComponentChildren, type JSX, type VNode } from "preact";
import { useId, useState } from "preact/hooks";
import { type ApiError, type Page, type Prediction, type Problem, type Warning, save } from "./api";
import { count, percent } from "./format";
import { useAction } from "./hooks";

export function Card(props: { title: string; children: ComponentChildren; aside?: ComponentChildren }): JSX.Element {
  return (
    <section class="card">
      <header>
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** What went wrong, and each place where it did. */
export function Failure({ error }: { error: ApiError | undefined }): JSX.Element | null {
  if (!error) return null;
  const more = error.problemCount - error.problems.length;
  const places = error.problems.some((problem) => problem.file);
  const untold = error.problems.filter((problem) => !error.message.includes(problem.message));
  return (
    <div class="failure" role="alert">
      <p>{error.message}</p>
      {places && <Problems problems={error.problems} caption="What is wrong, and where" />}
      {!places && untold.length > 0 && <ul>{untold.map((problem) => <li key={`${problem.column} ${problem.message}`}>{problem.column && `${problem.column}: `}{problem.message}</li>)}</ul>}
      {more > 0 && <p>and {count(more)} more</p>}
    </div>
  );
}

export function Problems({ problems, caption }: { problems: Problem[]; caption: string }): JSX.Element {
  return (
    <Scroll label={caption}>
      <table class="problems">
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">File</th><th scope="col" class="number">Line</th><th scope="col">Column</th>
            <th scope="col">The row</th><th scope="col">What is wrong</th>
          </tr>
        </thead>
        <tbody>
          {problems.map((problem, index) => (
            <tr key={index}>
              <td>{problem.file ?? ""}</td>
              <td class="number">{problem.line ?? ""}</td>
              <td>{problem.column ?? ""}</td>
              <td><Offending problem={problem} /></td>
              <td>{problem.message} <small>({problem.code})</small></td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** The row as the file has it, with what is wrong in it marked; tabs are made seen. */
function Offending({ problem: { row, value } }: { problem: Problem }): JSX.Element | null {
  if (row == null) return value == null ? null : <code>{value}</code>;
  const wrong = value?.replace(/…$/, "") ?? "";
  const at = wrong ? row.indexOf(wrong) : -1;
  const seen = (part: string) => part.replaceAll("\t", " │ ");
  if (at < 0) return <code class="row">{seen(row)}</code>;
  return <code class="row">{seen(row.slice(0, at))}<mark>{seen(wrong)}</mark>{seen(row.slice(at + wrong.length))}</code>;
}

export function Warnings({ warnings }: { warnings: Warning[] }): JSX.Element | null {
  if (!warnings.length) return null;
  return (
    <ul class="warnings">
      {warnings.map((warning, index) => (
        <li key={index}>
          {warning.message}
          {warning.lines.length > 0 && <small> {warning.file}, line {warning.lines.slice(0, 12).join(", ")}{warning.lines.length > 12 && " …"}</small>}
        </li>
      ))}
    </ul>
  );
}

const LONG = 600; // characters

/** A text, of which a long one is shown in part until somebody wants the rest. */
export function Long({ text }: { text: string }): JSX.Element {
  const [whole, setWhole] = useState(false);
  if (whole || text.length <= LONG) return <>{text}</>;
  return <>{text.slice(0, LONG)}… <button type="button" class="plain" onClick={() => setWhole(true)}>All {count(text.length)} characters</button></>;
}

/** What is wider than a phone scrolls by itself, also with the keyboard; what is `tall`, in both directions. */
export function Scroll({ label, tall = false, children }: { label: string; tall?: boolean; children: ComponentChildren }): JSX.Element {
  return <div class={tall ? "scroll tall" : "scroll"} role="region" aria-label={label} tabIndex={0}>{children}</div>;
}

export function Facts({ facts }: { facts: [string, ComponentChildren][] }): JSX.Element {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
      ))}
    </dl>
  );
}

/** A field of a form with its name, and what there is to know of it. */
export function Field({ label, hint, children }: { label: string; hint?: string; children: VNode<JSX.IntrinsicElements["input"]> }): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {cloneElement(children, { id, "aria-describedby": hint && `${id}-hint` })}
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  );
}

interface Bar {
  label: string;
  value: number;
  text: string;
}

/** Bars with their figures; more than a dozen are folded away, unless the last ones matter as much as the first. */
export function Bars({ bars, caption, most = Math.max(...bars.map((bar) => bar.value)), whole = false }: { bars: Bar[]; caption: string; most?: number; whole?: boolean }): JSX.Element {
  const [all, setAll] = useState(whole);
  const shown = all ? bars : bars.slice(0, 12);
  return (
    <figure class="bars">
      <figcaption>{caption}</figcaption>
      <ul>
        {shown.map((bar) => (
          <li key={bar.label}>
            <span class="name" dir="auto">{bar.label}</span>
            <span class="track" aria-hidden="true"><span style={{ width: percent(most > 0 ? bar.value / most : 0, 1).replace(" ", "") }} /></span>
            <span class="value">{bar.text}</span>
          </li>
        ))}
      </ul>
      {bars.length > shown.length && <button type="button" class="plain" onClick={() => setAll(true)}>Show all {count(bars.length)}</button>}
    </figure>
  );
}

export interface Mark {
  start: number;
  end: number;
  label: string;
  score?: number;
}

/** A number for each label, so that it has the same colour everywhere. */
function hue(label: string): number {
  let sum = 0;
  for (const character of label) sum = (sum * 31 + character.codePointAt(0)!) % 360;
  return sum;
}

/** A text with its entities marked. Offsets count characters, and not, as JavaScript does, halves of them. */
export function Marked({ text, marks }: { text: string; marks: Mark[] }): JSX.Element {
  const characters = Array.from(text);
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const mark of [...marks].sort((a, b) => a.start - b.start)) {
    parts.push(characters.slice(at, mark.start).join(""));
    parts.push(
      <mark class="entity" style={{ "--hue": String(hue(mark.label)) }} title={mark.score === undefined ? mark.label : `${mark.label}, ${percent(mark.score)}`}>
        {characters.slice(mark.start, mark.end).join("")}
        <small>{mark.label}</small>
      </mark>,
    );
    at = mark.end;
  }
  parts.push(characters.slice(at).join(""));
  return <p class="text" dir="auto">{parts}</p>;
}

/** An answer of a model, in the form of its task. */
export function PredictionView({ prediction, text }: { prediction: Prediction; text: string }): JSX.Element {
  if (prediction.error) return <p class="failure">{prediction.error.message}</p>;
  if (prediction.entities?.length) return <Marked text={text} marks={prediction.entities} />;
  const tagged = prediction.tokens?.filter((token) => token.tag !== "O") ?? [];
  if (tagged.length) return <Marked text={text} marks={tagged.map((token) => ({ ...token, label: token.tag }))} />;
  if (prediction.entities || prediction.tokens) return <p>Nothing was found in the text.</p>;
  const scores = prediction.scores ?? (prediction.label != null && prediction.score != null ? [{ label: prediction.label, score: prediction.score }] : undefined);
  if (scores) {
    const chosen = prediction.labels?.map((one) => one.label);
    return (
      <>
        {chosen && <p>{chosen.length ? <>Labels: <strong>{chosen.join(", ")}</strong></> : "No label is likelier than not."}</p>}
        <Bars caption="How likely each label is" most={1} bars={scores.map((one) => ({ label: one.label, value: one.score, text: percent(one.score, 1) }))} />
      </>
    );
  }
  return <p><strong>{prediction.score?.toFixed(3) ?? "–"}</strong></p>;
}

/** How alike two texts are, from the lowest to the highest score that the model knows. */
export function Dial({ value, low, high }: { value: number; low: number; high: number }): JSX.Element {
  const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  const angle = Math.PI * (1 - share);
  const point = (radius: number) => `${60 + radius * Math.cos(angle)} ${60 - radius * Math.sin(angle)}`;
  return (
    <figure class="dial">
      <svg viewBox="0 0 120 68" role="img" aria-label={`${value.toFixed(2)} on a scale from ${low} to ${high}`}>
        <path class="scale" d="M10 60 A50 50 0 0 1 110 60" />
        <path class="filled" d={`M10 60 A50 50 0 0 1 ${point(50)}`} />
        <path class="hand" d={`M60 60 L${point(42)}`} />
      </svg>
      <figcaption><strong>{value.toFixed(2)}</strong> <small>from {low} to {high}</small></figcaption>
    </figure>
  );
}

/** Ask once more before something is done that cannot be undone. */
export function Sure({ children, onSure, busy, question }: { children: ComponentChildren; onSure: () => void; busy?: boolean; question: string }): JSX.Element {
  const [asking, setAsking] = useState(false);
  const [asked, setAsked] = useState(false);
  // Whoever uses the keyboard stays where they are.
  const focused = (button: HTMLButtonElement | null) => {
    if ((asking || asked) && document.activeElement === document.body) button?.focus();
  };
  if (!asking) return <button type="button" class="plain" disabled={busy} ref={focused} onClick={() => { setAsking(true); setAsked(true); }}>{children}</button>;
  return (
    <span class="sure" role="group" aria-label={question}>
      {question}{" "}
      <button type="button" class="danger" disabled={busy} ref={focused} onClick={() => { setAsking(false); onSure(); }}>Yes</button>{" "}
      <button type="button" class="plain" onClick={() => setAsking(false)}>No</button>
    </span>
  );
}

/** Put a text on the clipboard, also where the page came without encryption and has no right to the usual way. */
async function copied(text: string): Promise<boolean> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

export function Copy({ text, children }: { text: string; children: ComponentChildren }): JSX.Element {
  const [done, setDone] = useState<string>();
  const copy = async () => {
    setDone((await copied(text)) ? "Copied" : "It could not be copied");
    setTimeout(() => setDone(undefined), 2000);
  };
  return <button type="button" class="plain" onClick={() => void copy()}>{done ?? children}</button>;
}

/** The way to older things, and back to the newest. */
export function Pager<T>({ page, after, onAfter, id }: { page: Page<T> | undefined; after: string; onAfter: (id: string) => void; id: (one: T) => string }): JSX.Element | null {
  if (!page || (!after && !page.has_more)) return null;
  return (
    <p class="actions">
      <button type="button" class="plain" disabled={!after} onClick={() => onAfter("")}>The first ones</button>
      <button type="button" class="plain" disabled={!page.has_more} onClick={() => onAfter(id(page.data.at(-1)!))}>More</button>
    </p>
  );
}

/** Told where what is shown is no longer news. */
export function Away({ error }: { error: ApiError | undefined }): JSX.Element | null {
  if (!error) return null;
  return <p class="failure" role="alert">{error.status === 0 ? "The connection is lost; trying again." : error.message}</p>;
}

/** A button that saves a file, and says so if that fails. */
export function Save({ path, name, children }: { path: string; name: string; children: ComponentChildren }): JSX.Element {
  const saving = useAction(() => save(path, name));
  return (
    <>
      <button type="button" class="plain" disabled={saving.busy} onClick={saving.run}>{children}</button>
      <Failure error={saving.error} />
    </>
  );
}

export function Loading({ what }: { what: string }): JSX.Element {
  return <p class="quiet" role="status">Loading {what} …</p>;
}

export function Status({ status }: { status: string }): JSX.Element {
  return <span class={`status ${status}`}>{status}</span>;
}
