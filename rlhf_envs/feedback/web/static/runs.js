// The list of runs that one server asks for: which have questions, and how far each is.
import { addressOf, get, token } from "./api.js";
import { element } from "./elements.js";
import { connectThemeButton } from "./theme.js";

const REFRESH = 2000;
const find = (id) => document.getElementById(id);
const COLUMNS = ["Run", "Environment", "Open", "Answered", "By you", "Training"];

function say(sentence) {
  find("banner").textContent = sentence;
  find("banner").hidden = !sentence;
}

const cell = (content, place) => element("td", { role: "cell", "data-column": COLUMNS[place] }, content);

function row(run, page) {
  const link = element("a", { href: addressOf(`${run.path}/${page}${location.hash}`) }, run.name);
  const training = run.training || (run.over ? "Finished" : "–");
  const cells = [link, run.environment, String(run.open), String(run.answered), String(run.own_answers), training];
  return element("tr", { role: "row" }, ...cells.map(cell));
}

function show({ name, role, runs }) {
  const owns = role === "owner";
  find("who").textContent = owns ? "" : name;
  find("runs-title").textContent = owns
    ? "Choose one to see its dashboard"
    : "Choose one to answer; those that wait for most come first";
  find("rows").replaceChildren(...runs.map((run) => row(run, owns ? "dashboard" : "label")));
  find("nothing").hidden = runs.length > 0;
}

async function refresh() {
  let pause = REFRESH;
  try {
    if (!document.hidden) show(await get("/api/runs"));
    say("");
  } catch (failure) {
    say(failure.status === undefined ? "Offline: these figures are from before." : failure.message);
    if (failure.status === 401) return;
    pause = 1000 * (failure.retryAfter ?? 0) || REFRESH;
  }
  setTimeout(refresh, pause);
}

connectThemeButton(find("theme"));
find("columns").replaceChildren(...COLUMNS.map((name) => element("th", { role: "columnheader", scope: "col" }, name)));
if (token) refresh();
else say("Open your personal link: it ends in “#token=” and a long word.");
