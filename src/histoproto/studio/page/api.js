// Calls to the server. The token lies in a cookie that this script cannot read; whoever lacks it gets a sentence.

export class Problem extends Error {}

async function answer(response) {
  const text = await response.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* a plain sentence */ }
  if (!response.ok) throw new Problem((body && body.problem) || text || `the server answered ${response.status}`);
  return body;
}

const offline = () => { throw new Problem('the server does not answer; what was shown as saved is safe'); };

export const get = (path) => fetch(path).catch(offline).then(answer);

export const post = (path, body = {}) =>
  fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    .catch(offline).then(answer);
