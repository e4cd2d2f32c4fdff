// Labels on their way to the disk. None is lost without a word: while the server does not answer they wait and are sent
// again; one that is refused is told.

import { post, Lost } from './api.js';

const AGAIN = 2000;

export class Saving {
  // told(waiting, problem): how many labels wait, and why ('' while nothing is wrong); refused(problem)
  constructor(told, refused) {
    this.told = told;
    this.refused = refused;
    this.waiting = 0;
    this.last = Promise.resolve();
    addEventListener('beforeunload', (event) => { if (this.waiting) event.preventDefault(); });
  }

  say(body) { // one after the other; what the server answered, or null where it refused
    this.waiting += 1;
    this.last = this.last.then(() => this.send(body)).finally(() => { this.waiting -= 1; });
    return this.last;
  }

  async send(body) {
    for (;;) {
      try {
        const kept = await post('/api/say', body);
        this.told(this.waiting - 1, '');
        return kept;
      } catch (problem) {
        if (!(problem instanceof Lost)) { this.refused(problem.message); return null; }
        this.told(this.waiting, problem.message);
        await new Promise((go) => { setTimeout(go, AGAIN); });
      }
    }
  }
}
