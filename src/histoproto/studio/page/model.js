// The model: how good it is, how far people agree, and what can be taken home.

import { html, useState, useEffect } from './vendor/preact.js';
import { get, post } from './api.js';
import { Command } from './copy.js';
import { Advice } from './counts.js';
import { People } from './people.js';
import { Results } from './results.js';
import { about } from './time.js';
import { Training } from './training.js';

const STOPPED = 130; // the exit code of a command after Ctrl-C

function Curve({ scores }) {
  const known = scores.filter((one) => one.average_precision !== null);
  if (!known.length) return null;
  const most = Math.max(...known.map((one) => one.labels));
  const x = (labels) => 40 + (370 * labels) / most;
  const y = (value) => 170 - 150 * value;
  const line = (key) => known.map((one) => `${x(one.labels)},${y(one[key])}`).join(' ');
  const band = `${line('low')} ${known.slice().reverse().map((one) => `${x(one.labels)},${y(one.high)}`).join(' ')}`;
  return html`<svg viewBox="0 0 420 200" class="curve" role="img" aria-label="mean average precision over labels given">
    ${[0, 0.5, 1].map((at) => html`<g><line x1="40" x2="410" y1=${y(at)} y2=${y(at)} class="rule" /><text x="34" y=${y(at) + 4} text-anchor="end">${100 * at}</text></g>`)}
    <polygon points=${band} class="band" /><polyline points=${line('average_precision')} class="line" />
    ${known.map((one) => html`<g><line x1=${x(one.labels)} x2=${x(one.labels)} y1=${y(one.low)} y2=${y(one.high)} class="spread" /><circle cx=${x(one.labels)} cy=${y(one.average_precision)} r="4" class="point" /></g>`)}
    <text x="225" y="195" text-anchor="middle">labels trained on (up to ${most})</text></svg>`;
}

export function flat({ labels, gain, low, high, flat: still }) { // what the last labels brought, in words
  const points = (value) => `${value < 0 ? '−' : '+'}${Math.abs(100 * value).toFixed(1)}`;
  const how = `${points(gain)} points, 95 % interval ${points(low)} to ${points(high)}`;
  if (high < 0) return `Worse since the last ${labels} labels (${how}): look at the labels that the model contradicts.`;
  if (still) return `Flat for the last ${labels} labels (${how}): you may stop.`;
  return low > 0 ? `Still learning: ${how} from the last ${labels} labels.` : `Not clear yet whether more labels help: ${how} from the last ${labels}.`;
}

export function Model({ state, attempt, seek }) {
  const [methods, setMethods] = useState([]);
  const [method, setMethod] = useState(''); // '': the default one
  useEffect(() => { get('/api/methods').then(setMethods, () => {}); }, []);
  const [epochs, setEpochs] = useState(0); // 0: as many as the command takes by itself
  const [commands, setCommands] = useState({}); // that do the same, by what they do
  useEffect(() => {
    const asked = new URLSearchParams({ method, epochs });
    attempt(() => get(`/api/commands?${asked}`), true).then((found) => found && setCommands(found));
  }, [method, epochs, state.round, state.slides.length]);
  const last = state.scores.at(-1);
  const job = (kind, title, what, ready, choices = null, options = {}) => {
    const now = state.jobs[kind];
    const running = now && now.code === null;
    const words = () => html`<pre tabindex="0" aria-label=${`last words: ${title}`}>${now.words.trim()}</pre>`;
    return html`<section class="card"><h2>${title}</h2><p>${what}</p>${choices}
      <p class="row">${running ? html`<button onClick=${() => attempt(() => post('/api/job/stop', { kind }))}>Stop</button>`
        : html`<button class="main" disabled=${!ready} onClick=${() => attempt(() => post('/api/job', { kind, ...options }))}>Start</button>`}
      ${now && html`<span role="status">${running ? 'running' : now.code === 0 ? 'finished' : now.code === STOPPED ? 'stopped' : `ended with exit code ${now.code}`}</span>`}</p>
      ${now && now.progress && html`<p class="fine far">slide ${now.progress.number} of ${now.progress.of}, ${now.progress.percent} %${about(now.progress.left)}: ${now.progress.slide}
        <progress max="100" value=${now.progress.percent} aria-label=${`windows of ${now.progress.slide}`} /></p>`}
      ${now && kind === 'train' && html`<${Training} state=${state} />`}
      ${now && now.words.trim() && (now.code === 0 ? html`<details><summary>what it said last</summary>${words()}</details>` : words())}
      ${now && now.report && html`<p class="row"><a class="button" href="/api/download/report.html" download>its report: scores, curves, examples</a></p>`}
      ${ready && html`<${Command} text=${commands[kind]} what=${title} />`}</section>`;
  };
  return html`<main class="model">
    <section class="card"><h2>How good is it?</h2>
      ${last && last.average_precision !== null ? html`<p>Round ${state.round}, ${last.labels} labels: mean average precision${' '}
        <b>${(100 * last.average_precision).toFixed(1)}</b> (95 % interval ${(100 * last.low).toFixed(1)} to ${(100 * last.high).toFixed(1)}),
        F1 ${(100 * last.f1).toFixed(1)}, on ${last.checks} random tiles that were never trained on.</p>`
        : html`<p>Not known yet: label a few of the random checks that the queue asks for.</p>`}
      ${last && last.untaught.length > 0 && html`<p class="warn">Not learnt: ${last.untaught.join(', ')}, for no label has it. It is on no map.</p>`}
      ${last && last.everywhere.length > 0 && html`<p class="warn">Every label has ${last.everywhere.join(' and ')}: so it is mapped wherever no other tissue is seen. A few tiles without it would teach where it is.</p>`}
      <${Curve} scores=${state.scores} />
      ${state.plateau && html`<p class="plateau">${flat(state.plateau)}</p>`}
      <${Advice} advice=${state.advice} seek=${seek} /></section>
    <${People} state=${state} attempt=${attempt} />
    ${job('train', 'Full training', 'Trains on all labels in a process of its own, which goes on when this page or the server is closed.', state.labels.all >= 8,
      html`<p class="row"><label>method <select value=${method} onChange=${(event) => setMethod(event.target.value)}>
        <option value="">lpd (as usual)</option>${methods.filter((one) => one !== 'lpd').map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
        <label>epochs <input type="number" min="1" max="1000" placeholder="as usual" value=${epochs || ''} onInput=${(event) => setEpochs(+event.target.value || 0)} /></label></p>`,
      { method, epochs })}
    ${job('segment', 'Map all slides', 'Writes outlines for QuPath, OME-TIFF, areas and pictures of every slide with the last model; finished slides are skipped.', state.round > 0)}
    <section class="card"><h2>Take home</h2>
      ${state.labels.all > state.labels.checks ? html`<p class="row"><a class="button" href="/api/download/labels.zip" download>labels as a data folder</a></p>
        <${Command} text=${commands.labels} what="labels as a data folder" />`
        : html`<p>Nothing yet: label some tiles first.</p>`}
      ${state.round > 0 && html`<p class="row"><a class="button" href="/api/download/model.zip" download>the model of round ${state.round}</a></p>
        <${Command} text=${commands.model} what="the model" />`}</section>
    <${Results} state=${state} attempt=${attempt} />
  </main>`;
}
