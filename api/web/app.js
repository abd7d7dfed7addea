// The page: lists jobs, models and data sets, and tries a model. It only reads the public HTTP contract.
const $ = (selector) => document.querySelector(selector);
let key = sessionStorage.getItem("thawline-key") ?? "";

async function call(path, options = {}) {
  const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) $("#key").hidden = false;
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail);
  return body;
}

// Everything that comes from data is set as text, never as markup.
function row(cells) {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const item = document.createElement("td");
    item.append(cell);
    line.append(item);
  }
  return line;
}

function bar(fraction) {
  const element = document.createElement("progress");
  element.max = 1;
  element.value = fraction;
  element.title = `${Math.round(fraction * 100)} %`;
  return element;
}

function outcome(job) {
  if (job.error) return `${job.error.code}: ${job.error.message}`;
  const metrics = job.result?.metrics.test ?? job.result?.metrics.validation;
  return metrics ? Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ") : "";
}

const when = (time) => new Date(time).toLocaleString();

function showJobs(jobs) {
  $("#jobs tbody").replaceChildren(...jobs.map((job) => row([
    job.model.version ? `${job.model.name}@${job.model.version}` : job.model.name,
    job.task,
    job.status === "running" && job.phase ? `running: ${job.phase}` : job.status,
    job.status === "running" ? bar(job.progress.fraction) : "",
    outcome(job),
    when(job.created_at),
  ])));
}

function showDatasets(datasets) {
  $("#datasets tbody").replaceChildren(...datasets.map((set) => row([
    set.name,
    set.multi_label ? `${set.task}, several labels` : set.task,
    set.status === "ready"
      ? Object.entries(set.splits).map(([split, { rows }]) => `${split} ${rows}`).join(", ")
      : set.status,
    set.labels.slice(0, 8).map(({ label, count }) => `${label} (${count})`).join(", "),
    when(set.created_at),
  ])));
}

function showModels(models) {
  const select = $("#try [name=model]");
  const known = [...select.options].map((option) => option.value).join();
  if (known === models.map((model) => model.name).join()) return;
  select.replaceChildren(...models.map((model) => {
    const option = new Option(`${model.name} (${model.task})`, model.name);
    option.dataset.task = model.task;
    return option;
  }));
  showPair();
}

function showPair() {
  $("#pair").hidden = $("#try [name=model]").selectedOptions[0]?.dataset.task !== "similarity";
}

async function refresh() {
  try {
    const [jobs, models, datasets] = await Promise.all(
      ["/jobs?limit=50", "/models?limit=100", "/datasets?limit=50"].map((path) => call(path)));
    showJobs(jobs.data);
    showModels(models.data);
    showDatasets(datasets.data);
    $("#notice").textContent = jobs.data.length ? "" : "No jobs yet. Upload a data set and start one with POST /jobs.";
  } catch (error) {
    $("#notice").textContent = error.message;
  }
}

$("#key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = event.target.elements.key.value;
  sessionStorage.setItem("thawline-key", key);
  event.target.hidden = true;
  refresh();
});

$("#try [name=model]").addEventListener("change", showPair);
$("#try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { model, text, pair } = event.target.elements;
  const inputs = $("#pair").hidden ? [text.value] : [{ text: text.value, text_pair: pair.value }];
  try {
    const answer = await call(`/predict/${encodeURIComponent(model.value)}`, {
      method: "POST",
      body: JSON.stringify({ inputs, ...(model.selectedOptions[0].dataset.task === "classification" && { top_k: 3 }) }),
    });
    $("#answer").textContent = JSON.stringify(answer.predictions[0], null, 2);
  } catch (error) {
    $("#answer").textContent = error.message;
  }
});

refresh();
setInterval(refresh, 2000);
