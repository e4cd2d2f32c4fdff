// Calls to the server. The token lies in a cookie that this script cannot read; whoever lacks it gets a sentence.

export class Problem extends Error {}
export class Lost extends Problem {} // the server does not answer, or no longer knows this page: it may again, later

async function answer(response) {
  const text = await response.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* a plain sentence */ }
  const said = (body && body.problem) || text || `the server answered ${response.status}`;
  if (response.status === 403) throw new Lost('the studio was started anew; open the address that it printed then');
  if (response.status >= 500) throw new Problem(`the server failed (${response.status}): ${said.slice(0, 200)}`);
  if (!response.ok) throw new Problem(said);
  return body;
}

const offline = () => { throw new Lost('the studio does not answer; is it still running?'); };

export const get = (path) => fetch(path).catch(offline).then(answer);

export const post = (path, body = {}) =>
  fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    .catch(offline).then(answer);

// This page, also after it was loaded anew: what one page has in hand no other one is given, whosoever's it is.
const page = sessionStorage.getItem('page') || Math.random().toString(36).slice(2);
sessionStorage.setItem('page', page);

export const nextOf = (who, count, without = []) => `/api/next?${new URLSearchParams({ who, page, count, without })}`;
