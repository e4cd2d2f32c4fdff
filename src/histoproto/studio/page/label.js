// Labelling one tile at a time. Every key is saved before it is shown as saved.

import { html, useState, useEffect, useRef } from './vendor/preact.js';
import { get, nextOf, post } from './api.js';
import { Counts } from './counts.js';
import { Many } from './many.js';

const AHEAD = 6; // tiles that are asked for when there are FEW, so that the next one is on the screen at once
const FEW = 3;
const RETRY = 2000;
const SOON = 150; // ms after which the first tile is asked for again while slides are still looked at

export function Label(props) {
  const [many, setMany] = useState(Boolean(props.group));
  useEffect(() => { if (props.picked) setMany(false); }, [props.picked]);
  useEffect(() => { if (props.group) setMany(true); }, [props.group]);
  return html`<main class="label">
    <div class="switch" role="group" aria-label="how many tiles">
      <button aria-pressed=${!many} onClick=${() => setMany(false)}>One tile</button>
      <button aria-pressed=${many} onClick=${() => setMany(true)}>Many tiles</button>
    </div>
    ${many ? html`<${Many} ...${props} />` : html`<${One} ...${props} />`}
  </main>`;
}

function One({ state, who, attempt, say, picked, setPicked, setGroup, seek }) {
  const tissues = state.project.tissues;
  const [queue, setQueue] = useState([]);
  const [past, setPast] = useState([]);
  const [now, setNow] = useState({ tile: 0 }); // what was just said of a tile, and whether it is saved
  const [blind, setBlind] = useState(false);
  const [near, setNear] = useState(false);
  const since = useRef(performance.now());
  const saving = useRef(Promise.resolve());
  const filling = useRef(false);
  const said = useRef([]); // of late: their labels may still be on the way when more tiles are asked for
  const tile = queue[0];
  const label = tile && tile.label;
  const shown = tile && now.tile === tile.tile ? now : { ticks: label ? label.ticks : [], verdict: label ? label.verdict : '' };
  const { ticks, verdict } = shown; // the verdict is '' until something is said

  const round = useRef(state.round);
  round.current = state.round;
  const busy = useRef(''); // with slides of which there will be tiles
  busy.current = state.busy;
  const fill = async (waiting) => {
    if (filling.current || waiting.length >= FEW) return;
    filling.current = true;
    const asked = round.current;
    const without = [...waiting, ...said.current].map((one) => one.tile);
    const more = await attempt(() => get(nextOf(who, AHEAD, without)), true);
    filling.current = false;
    if (!more || asked !== round.current) { // of a model that is no longer the last: ask again
      setTimeout(() => setQueue((before) => [...before]), more ? 0 : RETRY);
      return;
    }
    more.forEach((one) => ['picture', 'context'].forEach((kind) => { new Image().src = `/api/tile/${one.tile}/${kind}`; }));
    if (!more.length && !waiting.length && busy.current) setTimeout(() => setQueue((before) => [...before]), SOON);
    if (more.length) setQueue((before) => [...before, ...more.filter((one) => !before.some((other) => other.tile === one.tile))]);
  };

  useEffect(() => { fill(queue); }, [queue, who, state.round, state.looking && state.looking.done]);
  useEffect(() => { // a new round knows better what to ask; what is in hand stays there, with what it says of it now
    const kept = queue.filter((one, index) => index === 0 || one.kind === 'picked');
    setQueue(kept);
    kept.filter((one) => one.round !== state.round).forEach(async (one) => {
      const fresh = await attempt(() => get(`/api/tile/${one.tile}`), true);
      if (fresh) setQueue((before) => { Object.assign(one, { guess: fresh.guess, round: fresh.round }); return [...before]; });
    });
  }, [state.round]);
  useEffect(() => {
    if (!picked) return;
    setQueue((before) => [...picked, ...before.filter((one) => !picked.some((other) => other.tile === one.tile))]);
    setPicked(null);
  }, [picked]);
  useEffect(() => { since.current = performance.now(); }, [tile && tile.tile]);

  const save = (what, marks) => {
    const about = tile;
    about.said = true;
    setNow({ tile: about.tile, ticks: marks, verdict: '…' });
    const body = { who, tile: about.tile, verdict: what, ticks: marks, reason: about.reason, seconds: (performance.now() - since.current) / 1000 };
    saving.current = say(body).then((kept) => {
      if (kept) about.label = { verdict: what, ticks: marks };
      setNow((one) => (one.tile === about.tile && one.ticks === marks ? { ...one, verdict: kept ? what : 'not saved' } : one));
    });
    return saving.current;
  };
  const next = () => {
    if (!tile) return;
    if (!tile.label && !tile.said) save('skip', []);
    said.current = [...said.current.slice(-50), tile];
    setPast([...past.slice(-50), tile]);
    setQueue(queue.slice(1));
  };
  const back = () => {
    const last = past.at(-1);
    if (!last) return;
    setPast(past.slice(0, -1));
    setQueue([last, ...queue]);
  };
  const toggle = (name, only) => {
    const on = ticks.includes(name) && !only;
    save('label', only ? [name] : on ? ticks.filter((one) => one !== name) : [...ticks, name]);
  };
  const accept = async () => {
    if (!tile.guess || blind) return; // nobody accepts what is not shown
    save('label', tissues.map((one) => one.name).filter((name) => tile.guess[name] >= 0.5));
    next();
  };
  const take = async (path) => {
    await saving.current;
    const found = await attempt(() => post(path, { who }));
    if (found) setNow({ tile: 0 });
    if (found) setQueue([found, ...queue.filter((one) => one.tile !== found.tile)]);
  };

  const alike = async () => {
    const found = await attempt(() => get(`/api/like/${tile.tile}`));
    if (found) setGroup(found);
  };

  const act = useRef(() => {});
  act.current = (event) => {
    if (!tile || event.target.matches('input, textarea, select') || event.altKey) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    const command = event.ctrlKey || event.metaKey;
    const known = command
      ? { z: () => take(event.shiftKey ? '/api/redo' : '/api/undo'), y: () => take('/api/redo') }[event.key.toLowerCase()]
      : digit && tissues[digit[1] - 1] ? () => toggle(tissues[digit[1] - 1].name, event.shiftKey)
        : { 0: () => save('label', []), u: () => { save('unsure', []); next(); }, x: () => { save('exclude', []); next(); },
          Enter: next, ' ': next, ArrowRight: next, ArrowLeft: back, Backspace: back, a: accept, s: () => { save('skip', []); next(); },
          b: () => setBlind(!blind), f: alike, c: () => setNear(!near), z: () => take('/api/undo'), y: () => take('/api/redo') }[event.key];
    if (!known || (event.target.matches('button, a') && ['Enter', ' '].includes(event.key))) return;
    event.preventDefault();
    known();
  };
  useEffect(() => {
    const pressed = (event) => act.current(event);
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);

  if (!tile) {
    const waiting = state.busy || (state.looking && state.looking.working);
    const asked = !state.slides.length && state.waiting.length > 0;
    return html`<p class="empty">${asked ? 'tiles come as soon as the µm/px of a slide is known' : waiting ? 'the first tiles are being read …' : 'every tile has been labelled or is in somebody’s hands'}</p>`;
  }
  const saved = verdict === 'label' || verdict === 'unsure' || verdict === 'exclude' || verdict === 'skip';
  return html`<div class="one">
    <figure class=${near ? 'hero near' : 'hero'}>
      <img class="around" src=${`/api/tile/${tile.tile}/context`} alt="" />
      <img class="tile" data-tile=${tile.tile} src=${`/api/tile/${tile.tile}/picture`} alt=${`tile ${tile.tile} of ${tile.slide}`}
        onError=${() => attempt(() => get(`/api/tile/${tile.tile}/picture`))} />
    </figure>
    <section class="side">
      <p class=${`reason ${tile.kind}`} id="reason">${tile.reason}</p>
      <ul class="chips">${tissues.map((one, index) => html`<li>
        <button class="chip" style=${`--tissue: ${one.colour}`} aria-pressed=${ticks.includes(one.name)}
          onClick=${(event) => toggle(one.name, event.shiftKey)}>
          <kbd>${index + 1}</kbd> <span class="name">${one.name}</span>
          ${!blind && tile.guess && html`<span class="guess" title="the model's guess"><i style=${`width: ${100 * tile.guess[one.name]}%`}></i>${tile.guess[one.name].toFixed(2)}</span>`}
        </button></li>`)}</ul>
      <div class="row">
        <button aria-pressed=${verdict === 'label' && !ticks.length} onClick=${() => save('label', [])}><kbd>0</kbd> none of these</button>
        <button onClick=${() => { save('unsure', []); next(); }}><kbd>u</kbd> unsure</button>
        <button onClick=${() => { save('exclude', []); next(); }}><kbd>x</kbd> exclude</button>
        ${tile.guess && !blind && html`<button onClick=${accept}><kbd>a</kbd> accept the guess</button>`}
      </div>
      <div class="row">
        <button disabled=${!past.length} onClick=${back}><kbd>←</kbd> back</button>
        <button onClick=${() => take('/api/undo')}><kbd>z</kbd> undo</button>
        <button onClick=${() => take('/api/redo')}><kbd>y</kbd> redo</button>
        <button class="main" onClick=${next}><kbd>⏎</kbd> next</button>
      </div>
      <p class="saved" role="status" data-tile=${tile.tile}>${verdict === '…' ? 'saving …' : verdict === 'not saved' ? html`<em class="warn">not saved</em>`
        : saved ? `saved: ${verdict === 'label' ? ticks.join(', ') || 'none of these' : verdict}` : 'not labelled yet'}</p>
      <p class="fine">tile ${tile.tile} of <a href=${`#slides/${tile.slide}/${Math.round(tile.x + tile.side / 2)}/${Math.round(tile.y + tile.side / 2)}`}>${tile.slide}</a>
${' '}· <button class="quiet" onClick=${() => setNear(!near)}>${near ? 'with surroundings' : 'closer'}</button>${' '}
        · <button class="quiet" onClick=${() => setBlind(!blind)}>${blind ? 'show' : 'hide'} guess</button>${' '}
        · <button class="quiet" onClick=${alike}>like tiles</button></p>
      <${Counts} state=${state} seek=${seek} />
    </section>
  </div>`;
}

