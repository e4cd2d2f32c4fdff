// The frame of the page: what is shown, whose labels they are, and what the server says of itself.

import { html, render, useState, useEffect, useCallback, useRef } from './vendor/preact.js';
import { get, post, Lost } from './api.js';
import { Saving } from './saving.js';
import { Setup } from './setup.js';
import { Label } from './label.js';
import { Slides } from './slides.js';
import { Model } from './model.js';
import { Contradictions } from './contradictions.js';
import { Prototypes } from './prototypes.js';
import { Keys } from './keys.js';
import { Scales } from './scales.js';
import { about } from './time.js';

const VIEWS = [['label', 'Label'], ['slides', 'Slides'], ['contradictions', 'Contradictions'], ['prototypes', 'Prototypes'], ['model', 'Model & results']];
const POLL = 1500;

function place() { // #view/slide/x/y/zoom, so that a place can be sent to somebody
  const [view, ...rest] = location.hash.slice(1).split('/').map(decodeURIComponent);
  return { view: VIEWS.some(([name]) => name === view) ? view : 'label', rest };
}

function App() {
  const [state, setState] = useState(null);
  const [problem, setProblem] = useState(''); // of what was done last
  const [lost, setLost] = useState(''); // while the server does not answer
  const [unsaved, setUnsaved] = useState(0); // labels that wait for it
  const [where, setWhere] = useState(place());
  const [who, setWho] = useState(localStorage.getItem('who') || '');
  const [theme, setTheme] = useState(localStorage.getItem('theme') || '');
  const [keys, setKeys] = useState(false);
  const [later, setLater] = useState(false); // whether slides of unknown µm/px may wait
  const [closed, setClosed] = useState([]); // what was wrong from the start, and was read
  const [picked, setPicked] = useState(null); // tiles that were picked on a slide or in a list, to be labelled now
  const [group, setGroup] = useState(null); // tiles that were picked to be labelled together

  const refresh = useCallback(async () => {
    try { setState(await get('/api/state')); setLost(''); } catch (error) { setLost(error.message); }
  }, []);
  useEffect(() => { refresh(); const timer = setInterval(refresh, POLL); return () => clearInterval(timer); }, []);
  useEffect(() => { const moved = () => setWhere(place()); addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved); }, []);
  const dark = theme === 'dark' || (!theme && matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => { document.documentElement.dataset.theme = dark ? 'dark' : 'light'; localStorage.setItem('theme', theme); }, [theme]);
  useEffect(() => { localStorage.setItem('who', who); }, [who]);
  useEffect(() => {
    const pressed = (event) => {
      if (event.target.matches('input, textarea, select')) return;
      if (event.key === '?') setKeys((shown) => !shown);
      if (event.key === 'Escape') setKeys(false);
      if (event.key === 'l' && !event.ctrlKey && !event.metaKey && !event.altKey) learn.current();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);

  const learn = useRef(() => {});
  const attempt = async (work, quiet = false) => { // do something and show what went wrong; quiet: nobody asked for it
    try { const result = await work(); if (!quiet) { setProblem(''); refresh(); } return result; }
    catch (error) { (error instanceof Lost ? setLost : setProblem)(error.message); return null; }
  };
  learn.current = () => state?.labels?.all >= 4 && attempt(() => post('/api/learn'));
  const saving = useRef(null);
  saving.current = saving.current || new Saving((waiting, why) => { setUnsaved(waiting); setLost(why); },
    (why) => setProblem(`a label was not saved: ${why}`));
  const say = async (body) => { const kept = await saving.current.say(body); refresh(); return kept; };

  if (!state) return html`<main class="wait"><p role="status">${lost || 'opening the project …'}</p></main>`;
  if (!state.project) return html`<${Setup} state=${state} problem=${problem || lost}
    create=${(body) => attempt(() => post('/api/project', body))} />`;

  const seek = async ({ wanted, unwanted }) => { // tiles that would teach what is lacking
    const asked = new URLSearchParams([...wanted.map((one) => ['with', one]), ...unwanted.map((one) => ['without', one])]);
    const found = await attempt(() => get(`/api/seek?${asked}`));
    if (found && found.length) { setGroup(null); setPicked(found); location.hash = 'label'; }
  };
  const notes = state.notes.filter((one) => !closed.includes(one));
  const shared = { state, who, attempt, say, picked, setPicked, group, setGroup, seek, where };
  return html`
    <header>
      <h1>${state.project.name}</h1>
      <nav aria-label="views">
        ${VIEWS.map(([name, title]) => html`<a href=${`#${name}`} aria-current=${where.view === name ? 'page' : null}>${title}</a>`)}
      </nav>
      <${Progress} state=${state} attempt=${attempt} />
      <span class="spring"></span>
      <label class="who"><input size="4" maxlength="12" value=${who} placeholder="initials" aria-label="your initials"
        onInput=${(event) => setWho(event.target.value.trim())} /></label>
      <button class="quiet" onClick=${() => setTheme(dark ? 'light' : 'dark')}>${dark ? 'light' : 'dark'}</button>
      <button class="quiet" onClick=${() => setKeys(true)} aria-label="keys">?</button>
    </header>
    ${lost && html`<p class="problem" role="alert">${lost} ${unsaved ? `${unsaved} label${unsaved > 1 ? 's wait' : ' waits'} to be saved: leave this page open.` : 'What was shown as saved is safe.'}</p>`}
    ${[problem, state.problem].filter((one) => one && !closed.includes(one)).map((one) => html`<p class="problem" role="alert">${one}
      <button class="quiet" onClick=${() => { setProblem(''); setClosed([...closed, one].filter((each) => each === state.problem)); }}>close</button></p>`)}
    ${notes.length > 0 && html`<div class="note" role="status">
      ${notes.length === 1 ? html`<p>${notes[0]}</p>` : html`<details><summary>${notes.length} notes</summary><ul>${notes.map((one) => html`<li>${one}</li>`)}</ul></details>`}
      <button class="quiet" onClick=${() => setClosed([...closed, ...notes])}>close</button></div>`}
    ${state.waiting.length > 0 && (!later || where.view === 'slides') && html`<${Scales} waiting=${state.waiting} attempt=${attempt} later=${where.view !== 'slides' && (() => setLater(true))} />`}
    ${where.view === 'label' && html`<${Label} ...${shared} />`}
    ${where.view === 'slides' && html`<${Slides} ...${shared} />`}
    ${where.view === 'contradictions' && html`<${Contradictions} ...${shared} />`}
    ${where.view === 'prototypes' && html`<${Prototypes} ...${shared} />`}
    ${where.view === 'model' && html`<${Model} ...${shared} />`}
    ${keys && html`<${Keys} close=${() => setKeys(false)} tissues=${state.project.tissues} />`}`;
}

function left(looking, begun) { // how long it will take, once that can be told
  const seconds = (performance.now() - begun.at) / 1000;
  const rest = (looking.of - looking.done) * seconds / (looking.done - begun.done);
  return seconds < 5 ? '' : about(rest);
}

function Progress({ state, attempt }) {
  const { learning, looking, busy } = state;
  const begun = useRef(null); // when tiles were first seen to be looked at, and how many were done then
  if (!looking || !looking.working) begun.current = null;
  else begun.current = begun.current || { at: performance.now(), done: looking.done };
  if (learning && learning.working) {
    return html`<span class="progress" role="status">${learning.doing}${learning.whole > 1 ? ` ${learning.part} of ${learning.whole}` : ''}${' '}
      · ${learning.seconds} s${learning.took ? ` of about ${learning.took}` : ''} <button class="quiet" onClick=${() => attempt(() => post('/api/learn/stop'))}>stop</button></span>`;
  }
  const score = state.scores.at(-1);
  const said = score && score.average_precision !== null
    ? html`<span title=${`mean average precision on ${score.checks} random tiles that were never trained on, with its 95 % interval`}>round ${state.round} · mAP ${(100 * score.average_precision).toFixed(0)} (${(100 * score.low).toFixed(0)}–${(100 * score.high).toFixed(0)})</span>`
    : state.round ? `round ${state.round}` : 'no model yet';
  return html`<span class="progress" role="status">
    ${busy || (looking && looking.working ? `looking at tiles ${looking.done} of ${looking.of}${left(looking, begun.current)}` : said)}
    ${' '}<button disabled=${state.labels.all < 4} onClick=${() => attempt(() => post('/api/learn'))}>Learn now <kbd>l</kbd></button>
    ${state.plateau && state.plateau.flat && state.plateau.high >= 0 && html`<a href="#model" class="stop">flat: you may stop</a>`}
    ${learning && learning.problem && learning.problem !== 'stopped' && html`<em class="warn">${learning.problem}</em>`}</span>`;
}

render(html`<${App} />`, document.body);
