// All models.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Model, Page } from "./api";
import { figure, metricName, telling, when } from "./format";
import { useAsked, useTitle } from "./hooks";
import { Card, Failure, Loading, Pager, Scroll } from "./parts";

export function ModelsPage(): JSX.Element {
  const [after, setAfter] = useState("");
  const { data, error } = useAsked<Page<Model>>(`/models?limit=50${after && `&after=${encodeURIComponent(after)}`}`);
  useTitle("Models");
  return (
    <>
      <h1>Models</h1>
      <Card title="All models">
        <Failure error={error} />
        {!data && !error && <Loading what="models" />}
        {data?.data.length === 0 && <p>None yet. Each job that succeeds makes one, or a new version of one.</p>}
        {data && data.data.length > 0 && (
          <Scroll label="Models">
            <table>
              <thead><tr><th scope="col">Name</th><th scope="col">Task</th><th scope="col">In production</th><th scope="col">Versions</th><th scope="col">Newest</th><th scope="col"><span class="unseen">Try it</span></th></tr></thead>
              <tbody>
                {data.data.map((model) => {
                  const served = model.versions.find((version) => version.version === model.aliases["production"]);
                  return (
                    <tr key={model.name}>
                      <th scope="row"><a href={`#/models/${model.name}`}>{model.name}</a></th>
                      <td>{model.task}</td>
                      <td>{served ? `@${served.version}: ${telling(served.metrics).slice(0, 1).map(([name, value]) => `${metricName(name)} ${figure(value)}`).join("")}` : "none"}</td>
                      <td class="number">{model.versions.length}</td>
                      <td>{model.versions[0] && when(model.versions[0].created_at)}</td>
                      <td>{model.versions.length > 0 && <a href={`#/playground?model=${model.name}`}>Try it</a>}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Scroll>
        )}
        <Pager page={data} after={after} onAfter={setAfter} id={(model) => model.name} />
      </Card>
    </>
  );
}
