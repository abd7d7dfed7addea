// Charts come when they are first needed: most pages have none.
import type { ComponentProps, FunctionComponent, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

type ChartType = typeof import("./charts").default;
let loaded: ChartType | undefined;

export const Chart: FunctionComponent<ComponentProps<ChartType>> = (props): JSX.Element => {
  const [Found, setFound] = useState<{ is: ChartType } | undefined>(loaded && { is: loaded });
  useEffect(() => {
    if (!Found) {
      void import("./charts").then((module) => {
        loaded = module.default;
        setFound({ is: loaded });
      }, () => location.reload()); // the service has a newer page than this one
    }
  }, []);
  return Found ? <Found.is {...props} /> : <div class="chart" aria-busy="true" />;
};
