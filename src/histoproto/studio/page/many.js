// Many like tiles, ticked together by click, drag and key.

import { html, useState, useEffect, useRef, useCallback } from './vendor/preact.js';
import { get, nextOf } from './api.js';
import { Counts } from './counts.js';

export function Many({ state, who, attempt, say: save, group, setGroup, seek }) {
  const tissues = state.project.tissues;
  const [tiles, setTiles] = useState([]);
  const [chosen, setChosen] = useState(new Set());
  const painting = useRef(null); // a drag: whether it adds or takes away, and what was chosen before it
  const load = useCallback(async () => {
    const [first] = (await attempt(() => get(nextOf(who, 1)))) || [];
    if (!first) return;
    const found = first.checks ? [first] : (await attempt(() => get(`/api/like/${first.tile}`))) || [first];
    setTiles(found.filter((one, index) => index === 0 || !one.label));
    setChosen(new Set());
  }, [who]);
  useEffect(() => {
    if (!group) return;
    setTiles(group);
    setChosen(new Set());
    setGroup(null);
  }, [group]);
  useEffect(() => { if (!group) load();
    const up = () => { painting.current = null; };
    const cancel = () => { if (painting.current) setChosen(painting.current.before); up(); }; // it became a scroll: a drag is not a click
    addEventListener('pointerup', up); addEventListener('pointercancel', cancel);
    return () => { removeEventListener('pointerup', up); removeEventListener('pointercancel', cancel); }; }, []);

  const mark = (tile, on) => setChosen((before) => { const after = new Set(before); if (on) after.add(tile); else after.delete(tile); return after; });
  const say = async (verdict, ticks) => {
    for (const one of tiles.filter((each) => chosen.has(each.tile))) {
      if (!(await save({ who, tile: one.tile, verdict, ticks, reason: 'labelled together' }))) return;
      one.label = { verdict, ticks };
    }
    const rest = tiles.filter((one) => !chosen.has(one.tile));
    setChosen(new Set());
    if (rest.length) setTiles(rest); else load();
  };
  const act = useRef(() => {});
  act.current = (event) => {
    if (event.target.matches('input, textarea, select') || event.ctrlKey || event.metaKey) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    const known = digit && tissues[digit[1] - 1] ? () => say('label', [tissues[digit[1] - 1].name])
      : { 0: () => say('label', []), u: () => say('unsure', []), x: () => say('exclude', []), n: load,
        a: () => setChosen(new Set(tiles.map((one) => one.tile))), Escape: () => setChosen(new Set()) }[event.key];
    if (known) { event.preventDefault(); known(); }
  };
  useEffect(() => { const pressed = (event) => act.current(event); addEventListener('keydown', pressed); return () => removeEventListener('keydown', pressed); }, []);

  return html`<div class="many">
    <p class="row">${tiles[0] ? tiles[0].reason : 'looking for tiles …'} · ${chosen.size} chosen of ${tiles.length}
      <button onClick=${() => setChosen(new Set(tiles.map((one) => one.tile)))}><kbd>a</kbd> all</button>
      <button onClick=${load}><kbd>n</kbd> other tiles</button></p>
    <div class="grid">${tiles.map((one) => html`<button class="cell" aria-pressed=${chosen.has(one.tile)} aria-label=${`tile ${one.tile}`}
      onPointerDown=${(event) => {
        if (event.button !== 0 || !event.isPrimary) return;
        event.target.releasePointerCapture?.(event.pointerId);
        painting.current = { adds: !chosen.has(one.tile), before: chosen };
        mark(one.tile, painting.current.adds);
      }}
      onPointerEnter=${() => painting.current && mark(one.tile, painting.current.adds)}
      onClick=${(event) => event.detail === 0 && mark(one.tile, !chosen.has(one.tile)) /* by a key, or somebody's screen reader */}>
      <img draggable=${false} src=${`/api/tile/${one.tile}/picture`} alt="" /></button>`)}</div>
    <p class="row">all chosen show only
      ${tissues.map((one, index) => html`<button class="chip" style=${`--tissue: ${one.colour}`} disabled=${!chosen.size} onClick=${() => say('label', [one.name])}><kbd>${index + 1}</kbd> ${one.name}</button>`)}
      <button disabled=${!chosen.size} onClick=${() => say('label', [])}><kbd>0</kbd> none of these</button>
      <button disabled=${!chosen.size} onClick=${() => say('exclude', [])}><kbd>x</kbd> exclude</button></p>
    <${Counts} state=${state} seek=${seek} />
  </div>`;
}
