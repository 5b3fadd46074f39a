// Requests to the server that the page came from.

const TOKEN = "splare-token";

export class Refused extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export async function ask(path, body, signal) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = body === undefined ? { headers, signal } : { method: "POST", body: JSON.stringify(body), headers, signal };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer; is it still running?", null);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    const said = typeof told.detail === "string" ? told.detail : answer.statusText;
    throw new Refused(answer.status, said, Number(answer.headers.get("Retry-After")) || null);
  }
  return answer;
}

// Whether the model is loaded; asked without a failing request, which would be an error on the console.
export async function ready() {
  const answer = await fetch("model-state").catch(() => null);
  return answer === null ? null : (await answer.json()).status === "ready";
}
