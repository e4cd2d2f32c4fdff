// The slides of the project, to choose from.

import { html, useState } from './vendor/preact.js';

const MANY = 8; // from here on there is a field to find one
const MOST = 60; // that are listed at once

const thumbnail = (slide) => { // all of it in one piece, as DeepZoom counts
  const level = Math.min(8, Math.ceil(Math.log2(Math.max(slide.width, slide.height))));
  return `/api/slide/${encodeURIComponent(slide.name)}/${level}/0_0.jpg`;
};

export function List({ slides, shown, more }) { // more: what the address says beside the slide
  const [wanted, setWanted] = useState('');
  const found = slides.filter((one) => one.name.toLowerCase().includes(wanted.toLowerCase()));
  const labels = (one) => `${one.labels} label${one.labels === 1 ? '' : 's'}`;
  if (slides.length === 1) return html`<p class="only"><b>${shown.name}</b> <small>${labels(shown)}</small></p>`;
  return html`<section class="list" aria-label="slides">
    ${slides.length > MANY && html`<input type="search" placeholder=${`find among ${slides.length} slides`} aria-label="find a slide" value=${wanted} onInput=${(event) => setWanted(event.target.value)} />`}
    <ul>${found.slice(0, MOST).map((one) => html`<li key=${one.name}><a href=${`#${['slides', encodeURIComponent(one.name), ...more].join('/')}`}
      aria-current=${one.name === shown.name ? 'true' : null}><img loading="lazy" src=${thumbnail(one)} alt="" /><span>${one.name} <small>${one.missing ? 'not where it was' : labels(one)}</small></span></a></li>`)}</ul>
    ${found.length > MOST && html`<p class="fine">${found.length - MOST} more: write a part of the name</p>`}
    ${!found.length && html`<p class="fine">none is called so</p>`}
  </section>`;
}
