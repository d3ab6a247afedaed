// Talking to the server: JSON both ways, and every error as the one line that mien says.

export class Refused extends Error {}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Refused("The studio does not answer; is it still running?");
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  throw new Refused(content.error ?? `the studio answers ${response.status}`);
}

const json = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export const get = async (path) => (await answered(fetch(path))).json();
export const post = async (path, body = {}) => (await answered(fetch(path, json(body)))).json();
export const picture = async (path, body) => (await answered(fetch(path, json(body)))).blob();
export const remove = async (path) => (await answered(fetch(path, { method: "DELETE" }))).json();

/** Send a file as it is; `most` is the server's limit in bytes. */
export async function upload(path, file, name, most) {
  if (file.size > most) throw new Refused(`${name} has more than ${most >> 20} MB; make it smaller first`);
  return (await answered(fetch(`${path}?name=${encodeURIComponent(name)}`, { method: "POST", body: file }))).json();
}

/** Calls `work` at once, and once more after it if it was asked for in between: the last wish is always fulfilled. */
export function latest(work) {
  let running = false,
    again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      running = false;
    }
  };
}
