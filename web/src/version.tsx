// One version of a model: its report, whole.
import type { JSX } from "preact";
import { useTitle } from "./hooks";
import { ReportView } from "./report";

export function VersionPage({ model, version }: { model: string; version: number }): JSX.Element {
  useTitle(`${model}@${version}`);
  return (
    <>
      <p><a href={`#/models/${model}`}>{model}</a></p>
      <h1>{model}@{version}</h1>
      <p class="actions"><a class="button" href={`#/playground?model=${model}@${version}`}>Try it</a></p>
      <ReportView model={model} version={version} />
    </>
  );
}
