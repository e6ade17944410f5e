// The owner's page: how far things are, who answers, how training goes, and what it shall do.
import { addressOf, get, getBlob, post, remove, runsPage, token } from "./api.js";
import { curve } from "./curve.js";
import { element } from "./elements.js";
import { connectThemeButton, theme } from "./theme.js";

const REFRESH = 2000;
const find = (id) => document.getElementById(id);
const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)}%`);
const count = (number) => number.toLocaleString("en");
let latest;

function ago(seconds, now) {
  if (seconds === null) return "–";
  const past = Math.max(now - seconds, 0);
  if (past < 60) return "just now";
  if (past < 3600) return `${Math.round(past / 60)} min ago`;
  return past < 172_800 ? `${Math.round(past / 3600)} h ago` : `${Math.round(past / 86_400)} days ago`;
}

function show(board) {
  latest = board;
  const { training, requests } = board;
  find("environment").textContent = board.environment;
  const far = `${board.answered} of ${board.wanted}`;
  document.title = `${far}: ${board.environment}`;
  find("done").max = Math.max(board.wanted, 1);
  find("done").value = board.answered;
  find("counts").textContent = `${far} answered${board.skipped ? `, ${board.skipped} of them skipped` : ""}`;
  find("rest").textContent =
    `${board.asked - board.answered} open` +
    (board.wanted > board.asked ? `, ${board.wanted - board.asked} not asked yet` : "");
  find("asked").classList.toggle("wide", !board.for_training);
  document.querySelectorAll(".card.training").forEach((card) => {
    card.hidden = !board.for_training;
  });
  find("training").textContent = trainingState(training);
  find("alarms").textContent = (training?.alarms ?? []).join(" ");
  find("concerns").textContent = (training?.concerns ?? []).join(" ");
  find("state").textContent =
    board.training_posted_at === null ? "" : `Heard from training ${ago(board.training_posted_at, board.now)}`;
  find("requests").textContent = requestSentence(training, requests);
  find("pause").textContent = requests.paused ? "Go on" : "Pause";
  find("pause").disabled = find("stop").disabled = requests.stop || board.over;
  find("extra").disabled = find("ask-more").disabled = board.over;
  showCurves(training);
  showPeople(board);
  showTogether(board.annotators);
}

/** How often people who saw the same pair said the same. */
function showTogether(people) {
  const shared = people.reduce((sum, person) => sum + person.agreement_over, 0);
  const alike = people.reduce((sum, person) => sum + (person.agreement ?? 0) * person.agreement_over, 0);
  const pairs = count(Math.round(shared / 2));
  find("together").textContent = shared
    ? `Of ${pairs} times that two of them decided the same pair, they agreed in ${percent(alike / shared)}.`
    : "";
}

function trainingState(training) {
  if (!training) return "Nothing heard yet";
  const { timesteps, total_timesteps: total } = training;
  // A rollout is finished although the last steps of it are beyond the total.
  const steps = total ? ` · ${count(Math.min(timesteps, total))} of ${count(total)} steps` : "";
  const state =
    {
      training: training.second_policy ? "Training a second policy" : "Training",
      waiting: `Waits for ${training.waiting_for ? answers(training.waiting_for) : "answers"}`,
      paused: "Paused",
      stopped: "Stopped",
      finished: "Finished",
    }[training.state] ?? training.state;
  return `${state}${steps}`;
}

function answers(number) {
  return `${count(number)} ${number === 1 ? "answer" : "answers"}`;
}

function requestSentence(training, requests) {
  const said = [];
  if (requests.stop)
    said.push(
      training?.state === "stopped" ? "Stopped as you requested." : "Stops after this rollout, as you requested.",
    );
  else if (requests.paused)
    said.push(
      training?.state === "paused" ? "Paused as you requested." : "Pauses after this rollout, as you requested.",
    );
  if (requests.extra_answers)
    said.push(
      `Asks ${answers(requests.extra_answers)} beyond its budget` +
        (training?.answers ? ` of ${training.answers}.` : "."),
    );
  return said.join(" ") || (training?.answers ? `Budget: ${answers(training.answers)}.` : "");
}

let drawn = "";
function showCurves(training) {
  const points = training?.curve ?? [];
  const key = JSON.stringify(points.at(-1) ?? null) + points.length;
  if (key === drawn) return; // drawing again would take a reader's selection and place away
  drawn = key;
  find("curves").replaceChildren(
    curve(
      points.map(([steps, value, , linked]) => [steps, linked ?? value]),
      { title: "Learned return, carried on over fits", format: (value) => String(Number(value.toPrecision(3))) },
    ),
    curve(
      points.map(([steps, , value]) => [steps, value]),
      { title: "Held-out answers predicted", format: percent, range: [0, 1] },
    ),
  );
}

/** The columns of the table between the name and the buttons: what each is called, and what it says of a person. */
const COLUMNS = [
  ["Answers", (person) => String(person.answers)],
  ["Skipped", (person) => String(person.skipped)],
  ["Pace", (person) => (person.seconds_per_answer === null ? "–" : `${person.seconds_per_answer.toFixed(1)} s`)],
  ["Left", (person) => (person.left_share === null ? "–" : `${percent(person.left_share)} of ${person.left_over}`)],
  [
    "Agrees with others",
    (person) => (person.agreement === null ? "–" : `${percent(person.agreement)} of ${person.agreement_over}`),
  ],
  ["Practice", (person) => (person.practice_answers ? `${person.practice_right} of ${person.practice_answers}` : "–")],
  [
    "Now",
    (person) =>
      person.on_screen ? `looks at ${person.on_screen}${person.held_ahead ? `, ${person.held_ahead} ahead` : ""}` : "–",
  ],
  ["Last answer", (person, now) => ago(person.last_answer_at, now)],
];

// Where there is little room each row is laid out as a card of its own; the roles say that it is a table all the same.
const heading = (...content) => element("th", { scope: "col", role: "columnheader" }, ...content);

function showColumns() {
  find("columns").replaceChildren(
    heading("Name"),
    ...COLUMNS.map(([name]) => heading(name)),
    heading(element("span", { class: "unseen" }, "Link")),
  );
}

let listed = "";
function showPeople({ annotators, now }) {
  const rows = annotators.map((person) => row(person, now));
  const key = rows.map((each) => each.outerHTML).join("");
  if (key === listed) return; // replacing it by the same would take the focus from a button
  listed = key;
  find("people").replaceChildren(...rows);
}

function row(person, now) {
  const link = element(
    "td",
    { class: "links", role: "cell" },
    element(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Make a new link for ${person.name}`,
        onclick: () => renew(person),
      },
      person.has_link ? "New link" : "Make a link",
    ),
    person.has_link
      ? element(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `End the link of ${person.name}`,
            onclick: () => end(person),
          },
          "End link",
        )
      : null,
  );
  return element(
    "tr",
    { role: "row" },
    element("th", { scope: "row", role: "rowheader" }, person.name),
    ...COLUMNS.map(([name, text]) => element("td", { role: "cell", "data-column": name }, text(person, now))),
    link,
  );
}

/** A QR code as a picture, from its rows of dark (1) and light (0) squares. */
function qrPicture(rows) {
  const margin = 4;
  const size = rows.length + 2 * margin;
  const dark = rows
    .flatMap((squares, y) =>
      Array.from(squares, (square, x) => (square === "1" ? `M${x + margin} ${y + margin}h1v1h-1z` : "")),
    )
    .join("");
  return element(
    "svg:svg",
    { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "The link as a QR code for a phone" },
    element("svg:rect", { width: size, height: size, fill: "#fff" }),
    element("svg:path", { d: dark, fill: "#000" }),
  );
}

/** Ask in a dialog; whether the answer was yes. */
function ask(title, text, yes, { danger = false, link = "", qr = [] } = {}) {
  const dialog = find("ask");
  find("ask-title").textContent = title;
  find("ask-text").textContent = text;
  find("ask-yes").textContent = yes;
  find("ask-yes").className = danger ? "danger" : "strong";
  find("ask-no").hidden = Boolean(link);
  find("ask-link").hidden = !link;
  find("ask-link").value = link;
  find("ask-qr").replaceChildren(...(qr.length ? [qrPicture(qr)] : []));
  dialog.showModal();
  if (link) find("ask-link").select();
  // Not the dialog's "close" event: it comes late, perhaps after the dialog was opened for another question.
  return new Promise((answered) => {
    find("ask-yes").onclick = () => answered(true);
    find("ask-no").onclick = dialog.oncancel = () => answered(false);
  });
}

async function attempt(work) {
  try {
    await work();
    await refresh();
  } catch (failure) {
    say(failure.status === undefined ? "The server cannot be reached; nothing was changed." : failure.message);
  }
}

function say(sentence) {
  find("banner").textContent = sentence;
  find("banner").hidden = !sentence;
}

/** Send what shall change. One after the other, so that each is reckoned from what the one before it brought about. */
let requested = Promise.resolve();
const request = (change) => {
  requested = requested.then(() => attempt(() => post("/api/requests", change(latest.requests))));
};

async function invite(name, known) {
  if (
    known &&
    !(await ask(
      `A new link for ${name}?`,
      "The link that they have now ends at once. Answers kept on their device are sent when they open the new one.",
      "Make a new link",
    ))
  )
    return;
  await attempt(async () => {
    const { link, qr } = await post("/api/annotators", { name, base: addressOf("/") });
    await ask(
      `The personal link of ${name}`,
      "It is shown this once. Whoever has it answers under this name.",
      "Done",
      { link, qr },
    );
  });
}
const renew = (person) => invite(person.name, person.has_link);
const end = async (person) => {
  if (
    await ask(`End the link of ${person.name}?`, "Their answers stay; they can give no more.", "End the link", {
      danger: true,
    })
  )
    await attempt(() => remove(`/api/annotators/${encodeURIComponent(person.name)}`));
};

let asked = 0,
  shown = 0;
async function refresh() {
  const number = ++asked;
  const board = await get("/api/dashboard");
  if (number < shown) return; // what was asked later has come before
  shown = number;
  show(board);
  say("");
}

let listedAnswers = "";

/** The latest answers with their clips, and where in the space of clips they lie. */
async function refreshAsked() {
  const { answers: given, points } = await get("/api/asked");
  const key = JSON.stringify([given, points.length]);
  if (key === listedAnswers) return;
  listedAnswers = key;
  find("latest").replaceChildren(...(given.length ? given.map(latestAnswer) : [element("li", {}, "None yet.")]));
  find("map").replaceChildren(mapOf(points));
}

function latestAnswer(answer) {
  const preferred = { left: 0, right: 1 }[answer.text.split(",")[0]];
  const clips = answer.clips.slice(0, 3).map((path, position) => {
    const video = element("video", {
      muted: true,
      playsinline: true,
      class: position === preferred ? "preferred" : "",
      "aria-hidden": "true",
      onmouseenter: () => video.play().catch(() => {}),
    });
    video.muted = true;
    getBlob(`${path}?theme=${theme()}`).then(
      (film) => {
        video.src = `${URL.createObjectURL(film)}#t=0.3`;
      },
      () => video.remove(),
    );
    return video;
  });
  const pace = answer.seconds === null ? "" : ` · ${answer.seconds.toFixed(1)} s`;
  const why = answer.reasons.length ? ` · ${answer.reasons.join(", ").replaceAll("_", " ")}` : "";
  return element(
    "li",
    {},
    element("strong", {}, answer.text),
    element("span", { class: "shown" }, ...clips),
    element("span", { class: "by" }, `${answer.annotator}${pace}${why}`),
  );
}

const MAP = { width: 400, height: 260, margin: 14 };

function mapOf(points) {
  if (!points.length) return element("p", { class: "note" }, "There is a map as soon as a few clips were asked about.");
  const range = (axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values) - Math.min(...values) || 1];
  };
  const [[left, width], [low, height]] = [range(0), range(1)];
  return element(
    "svg:svg",
    {
      viewBox: `0 0 ${MAP.width} ${MAP.height}`,
      role: "img",
      "aria-label": `A map of ${points.length} clips that were asked about.`,
    },
    ...points.map(([x, y, late]) =>
      element("svg:circle", {
        cx: (MAP.margin + ((x - left) / width) * (MAP.width - 2 * MAP.margin)).toFixed(1),
        cy: (MAP.margin + ((y - low) / height) * (MAP.height - 2 * MAP.margin)).toFixed(1),
        r: 4,
        "fill-opacity": (0.2 + 0.7 * late).toFixed(2),
      }),
    ),
  );
}

let rounds = 0;
async function keepFresh() {
  try {
    if (!document.hidden && !find("ask").open) {
      await refresh();
      if (rounds++ % 3 === 0) await refreshAsked();
    }
  } catch (failure) {
    say(failure.status === undefined ? "Offline: these figures are from before." : failure.message);
    if (failure.status === 401 || failure.status === 403) return;
  }
  setTimeout(keepFresh, REFRESH);
}

connectThemeButton(find("theme"));
find("runs").hidden = runsPage === null;
if (runsPage !== null) find("runs").href = runsPage;
showColumns();
find("pause").addEventListener("click", () => {
  const paused = !latest.requests.paused;
  request(() => ({ paused }));
});
find("stop").addEventListener("click", async () => {
  if (
    await ask(
      "Stop training?",
      "The run ends after this rollout and keeps all it has. It can be resumed from the command line.",
      "Stop training",
      { danger: true },
    )
  )
    request(() => ({ stop: true }));
});
find("more").addEventListener("submit", (event) => {
  event.preventDefault();
  const more = Number(find("extra").value);
  request((before) => ({ extra_answers: before.extra_answers + more }));
});
find("invite").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = find("name").value.trim();
  find("name").value = "";
  if (!name) return;
  if (!latest) await attempt(() => {}); // who has a link is not known yet
  const known = latest?.annotators.some((person) => person.name === name && person.has_link);
  await invite(name, known);
});
if (token) keepFresh();
else say("Open the owner's link that the server printed when it started: it ends in “#token=” and a long word.");
