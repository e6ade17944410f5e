// Requests with the token of the personal link. It stands in the address behind "#", which browsers never send.
export const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
/** Where the pages are: "" at a server's root, or "/runs/" and a run's name, either beneath the path of a proxy. */
const base = location.pathname.replace(/\/(label|dashboard)?$/, "");
/** The address of the list of runs, where a server has several; else null. */
export const runsPage = /\/runs\/[^/]+$/.test(base) ? `${base.replace(/\/runs\/[^/]+$/, "")}/${location.hash}` : null;
addEventListener("hashchange", () => location.reload());

const PATIENCE = 20_000;

/** The address of a path of these pages, such as "/api/me". */
export const addressOf = (path) => new URL(base + path, location.origin).href;

/** The server said no, in a sentence. `status` is HTTP's; `retryAfter` are seconds, or null. */
export class Refusal extends Error {
  constructor(status, sentence, retryAfter) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request can succeed later. */
  get passing() {
    return this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Random text that names one submission; crypto.randomUUID is missing where a page comes without TLS. */
export function freshToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(path, { method = "GET", body, keepalive = false } = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  const options = { method, headers, keepalive, signal: AbortSignal.timeout(PATIENCE) };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(addressOf(path), options);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const sentence =
    typeof said.detail === "string" ? said.detail : `The server answered with status ${response.status}.`;
  throw new Refusal(response.status, sentence, Number(response.headers.get("Retry-After")) || null);
}

export const get = async (path) => (await send(path)).json();
export const getBlob = async (path) => (await send(path)).blob();
export const post = async (path, body) => (await send(path, { method: "POST", body, keepalive: true })).json();
/** A picture that follows from what is sent, and whether the episode is over by it. */
export async function postForPicture(path, body) {
  const response = await send(path, { method: "POST", body });
  return { picture: await createImageBitmap(await response.blob()), over: response.headers.get("X-Over") === "1" };
}
export const remove = async (path) => (await send(path, { method: "DELETE" })).json();
