// Dialogues: a gallery of cards, and one dialogue at a time. Only what is visible is in the document.

const PER_PAGE = 12;
const OUTCOMES = ['improved', 'degraded', 'repeated', 'repaired', 'crashed'];
const FIRST_PARTS = ['total', 'format', 'rule', 'model', 'low_level', 'text', 'layout', 'chart_type', 'color'];

function accent(turn) { return `--accent: var(--turn${(turn - 1) % 4 + 1})`; }

function statusTag(turn) {
  if (turn.status === 'ok') return h('span', { class: 'tag ok' }, 'executed');
  return turn.status ? h('span', { class: 'tag failed' }, turn.status.replaceAll('_', ' ')) : null;
}

function signed(value, digits) { return (value > 0 ? '+' : value < 0 ? '−' : '±') + Math.abs(value).toFixed(digits); }

class Dialogues {
  constructor(data) {
    this.data = data;
    this.filter = { run: '', outcome: '', kind: '', from: '', to: '', query: '', order: 'step' };
    this.shown = data.dialogues.map((_, index) => index);
    this.open = null;            // index of the open dialogue, null in the gallery
    this.page = 0;
    this.plain = false;          // programs instead of differences
  }

  text(index) { return index === null ? null : this.data.strings[index]; }

  image(dialogue, name, style, label) {
    if (!name) return h('div', { class: 'nothing' }, label);
    return h('img', { class: style, src: this.data.runs[dialogue.run].renders + encodeURIComponent(name), alt: label, loading: 'lazy' });
  }

  // ---------------------------------------------------------------- choosing

  matches(dialogue, outcome = this.filter.outcome) {
    const { run, kind, from, to, query } = this.filter;
    return (run === '' || dialogue.run === Number(run)) && (kind === '' || dialogue.kind === kind)
      && (outcome === '' || dialogue.tags.includes(outcome))
      && (from === '' || dialogue.step >= Number(from)) && (to === '' || dialogue.step <= Number(to))
      && (query === '' || dialogue.chart.toLowerCase().includes(query.toLowerCase()));
  }

  gain(dialogue) {
    const low = turn => turn?.parts.low_level ?? 0;
    return low(dialogue.turns.at(-1)) - low(dialogue.turns[0]);
  }

  choose() {
    const all = this.data.dialogues;
    const keys = { step: null, newest: index => -all[index].step, reward: index => -all[index].reward,
      gain: index => -this.gain(all[index]), loss: index => this.gain(all[index]) };
    this.shown = all.map((_, index) => index).filter(index => this.matches(all[index]));
    const key = keys[this.filter.order];
    if (key) this.shown.sort((a, b) => key(a) - key(b) || a - b);
    this.open = null;
    this.page = 0;
    this.draw();
  }

  controls(place) {
    const all = this.data.dialogues;
    const select = (name, label, options) => h('select', { 'aria-label': label,
      onchange: event => { this.filter[name] = event.target.value; this.choose(); } },
      options.map(([value, text]) => h('option', { value }, text)));
    const number = (name, label) => h('input', { type: 'number', placeholder: label, 'aria-label': label,
      oninput: event => { this.filter[name] = event.target.value; this.choose(); } });
    const kinds = [...new Set(all.map(dialogue => dialogue.kind).filter(kind => kind))].sort();
    this.pills = h('div', { class: 'pills' });
    place.replaceChildren(...[
      this.pills,
      this.data.runs.length > 1 && select('run', 'run', [['', 'all runs'], ...this.data.runs.map((run, index) => [index, run.name])]),
      kinds.length > 1 && select('kind', 'kind', [['', 'all kinds'], ...kinds.map(kind => [kind, kind.replaceAll('_', ' ')])]),
      h('label', {}, 'steps', number('from', 'first'), '–', number('to', 'last')),
      h('input', { type: 'search', placeholder: 'chart id', 'aria-label': 'chart id',
        oninput: event => { this.filter.query = event.target.value; this.choose(); } }),
      select('order', 'order', [['step', 'by step'], ['newest', 'latest first'], ['reward', 'highest reward'],
        ['gain', 'largest gain'], ['loss', 'largest loss']])].filter(part => part));
  }

  drawPills() {
    const count = outcome => this.data.dialogues.filter(dialogue => this.matches(dialogue, outcome)).length;
    const pill = (outcome, label) => h('button', { 'aria-pressed': String(this.filter.outcome === outcome),
      onclick: () => { this.filter.outcome = outcome; this.choose(); } }, label, h('small', {}, count(outcome).toLocaleString('en')));
    this.pills.replaceChildren(pill('', 'all'), ...OUTCOMES.map(outcome => pill(outcome, outcome)));
  }

  // ---------------------------------------------------------------- moving

  move(by) {
    if (this.open === null) {
      this.page = Math.min(Math.max(this.page + by, 0), Math.max(0, Math.ceil(this.shown.length / PER_PAGE) - 1));
    } else {
      const place = this.shown.indexOf(this.open) + by;
      if (place >= 0 && place < this.shown.length) this.open = this.shown[place];
    }
    this.draw();
  }

  show(index) {
    this.open = index;
    if (index === null && this.last !== undefined) this.page = Math.max(0, Math.floor(this.shown.indexOf(this.last) / PER_PAGE));
    this.draw();
    if (index !== null) this.place.closest('section').scrollIntoView();
  }

  key(event) {
    if (event.target.closest('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowLeft') this.move(-1);
    else if (event.key === 'ArrowRight') this.move(1);
    else if (event.key === 'Escape' && this.open !== null) this.show(null);
    else return;
    event.preventDefault();
  }

  attach(controls, pager, place) {
    this.pager = pager;
    this.place = place;
    this.controls(controls);
    document.addEventListener('keydown', event => this.key(event));
    const linked = () => location.hash.match(/^#dialogue-(\d+)$/);
    window.addEventListener('hashchange', () => { if (linked()) this.show(Math.min(Number(linked()[1]), this.data.dialogues.length - 1)); });
    if (linked() && this.data.dialogues.length) this.show(Math.min(Number(linked()[1]), this.data.dialogues.length - 1));
    else this.draw();
  }

  // ---------------------------------------------------------------- drawing

  draw() {
    this.drawPills();
    const inGallery = this.open === null;
    if (!inGallery) this.last = this.open;
    const pages = Math.max(1, Math.ceil(this.shown.length / PER_PAGE));
    const position = inGallery ? this.page : this.shown.indexOf(this.open), end = inGallery ? pages : this.shown.length;
    const label = inGallery ? `page ${position + 1} of ${pages.toLocaleString('en')}`
      : position < 0 ? 'outside of the filter' : `${(position + 1).toLocaleString('en')} of ${end.toLocaleString('en')}`;
    this.pager.replaceChildren(...[
      !inGallery && h('button', { onclick: () => this.show(null) }, 'gallery'),
      h('button', { onclick: () => this.move(-1), disabled: position <= 0, 'aria-label': 'previous' }, '←'),
      h('span', { class: 'number' }, label),
      h('button', { onclick: () => this.move(1), disabled: position + 1 >= end, 'aria-label': 'next' }, '→'),
      h('span', { class: 'spacer' }),
      h('span', {}, h('kbd', {}, '←'), ' ', h('kbd', {}, '→'), ' to page', inGallery ? '' : [', ', h('kbd', {}, 'esc'), ' for the gallery'])].filter(part => part));
    if (!inGallery) this.place.replaceChildren(...this.detail(this.open));
    else if (!this.shown.length) this.place.replaceChildren(h('p', { class: 'empty' }, 'No dialogue passes this filter.'));
    else this.place.replaceChildren(h('div', { class: 'gallery' },
      this.shown.slice(this.page * PER_PAGE, (this.page + 1) * PER_PAGE).map(index => this.card(index))));
    if (!inGallery) history.replaceState(null, '', `#dialogue-${this.open}`);
    else if (location.hash.startsWith('#dialogue-')) history.replaceState(null, '', '#dialogues');
  }

  card(index) {
    const dialogue = this.data.dialogues[index];
    const picture = (name, label, style, value) => h('div', {}, this.image(dialogue, name, 'thumb', label),
      h('div', { class: 'caption' }, h('span', { style }, label), h('b', {}, value)));
    const low = turn => turn.parts.low_level === undefined ? '' : (100 * turn.parts.low_level).toFixed(0);
    const turns = dialogue.turns.length > 3 ? [dialogue.turns[0], dialogue.turns.at(-1)] : dialogue.turns;
    const place = [dialogue.kind.replaceAll('_', ' '), dialogue.chart].filter(part => part).join(' · ');
    return h('button', { class: 'card', onclick: () => this.show(index) },
      h('div', { class: 'strip' }, picture(dialogue.target, 'target', '', ''), turns.map(turn =>
        picture(turn.render, turn.render || turn.status === 'ok' ? `turn ${turn.turn}` : `turn ${turn.turn}: ${turn.status.replaceAll('_', ' ')}`,
          `color: var(--turn${(turn.turn - 1) % 4 + 1})`, low(turn)))),
      h('div', { class: 'under' }, h('span', { class: 'id' }, place),
        dialogue.tags.map(tag => h('span', { class: `tag ${tag}` }, tag)),
        h('span', { class: 'number' }, `step ${dialogue.step}`)));
  }

  detail(index) {
    const dialogue = this.data.dialogues[index];
    const run = this.data.runs[dialogue.run].name;
    const facts = [run, dialogue.step ? `step ${dialogue.step}` : null, dialogue.kind.replaceAll('_', ' ') || null].filter(part => part);
    const head = h('div', { class: 'head' }, h('span', { class: 'where' }, dialogue.chart), h('span', { class: 'muted' }, facts.join(' · ')),
      dialogue.tags.map(tag => h('span', { class: `tag ${tag}` }, tag)),
      h('span', { class: 'muted' }, `reward ${numberText(dialogue.reward)}`));
    const target = h('div', { class: 'column', style: '--accent: var(--target)' }, h('h3', {}, 'target'),
      this.image(dialogue, dialogue.target, 'picture', 'target'),
      dialogue.golden !== null && [h('div', { class: 'codebar' }, 'golden program'), programElement(this.text(dialogue.golden))]);
    const columns = dialogue.turns.map((turn, position) => this.column(dialogue, turn, dialogue.turns[position - 1]));
    return [head, this.group(index), h('div', { class: 'columns' }, target, columns)].filter(part => part);
  }

  // The other trajectories of the same chart and step, one button each.
  group(index) {
    const here = this.data.dialogues[index];
    const siblings = [...this.data.dialogues.entries()].filter(([, other]) =>
      other.run === here.run && other.step === here.step && other.chart === here.chart);
    if (siblings.length < 2) return null;
    const shared = here.branch_turn > 1 ? `, turns before ${here.branch_turn} shared` : '';
    return h('div', { class: 'group' }, `group of ${siblings.length}${shared}; rewards:`,
      siblings.map(([other, dialogue]) => h('button', { 'aria-pressed': String(other === index), onclick: () => this.show(other),
        title: `branch ${dialogue.branch}` }, numberText(dialogue.reward))));
  }

  column(dialogue, turn, previous) {
    const program = this.text(turn.program), before = this.text(turn.before) ?? '', after = this.text(turn.after) ?? '';
    const think = before.match(/<think>([^]*?)(?:<\/think>|$)/)?.[1].trim();
    const raw = before + (turn.inside ? program : '') + after;
    const facts = [turn.shared ? 'shared' : null, turn.advantage === null ? null : `advantage ${signed(turn.advantage, 2)}`,
      turn.tokens ? `${turn.tokens} tokens` : null].filter(part => part).join(' · ');
    const empty = turn.status && turn.status !== 'ok' ? `no render: ${turn.status.replaceAll('_', ' ')}` : 'no render';
    return h('div', { class: 'column', style: accent(turn.turn) },
      h('h3', {}, `turn ${turn.turn}`, statusTag(turn), h('span', { class: 'facts' }, facts)),
      this.image(dialogue, turn.render, 'picture', turn.render ? `render of turn ${turn.turn}` : empty),
      turn.difference && this.image(dialogue, turn.difference, 'picture',
        `differences of turn ${turn.turn}: blue is missing, red is too much, green has another colour`),
      turn.log !== null && h('pre', { class: 'log' }, this.text(turn.log)),
      think && h('p', { class: 'think' }, think),
      this.parts(turn, previous),
      this.programPart(program, previous && this.text(previous.program)),
      h('details', {}, h('summary', {}, 'whole response'), h('pre', { class: 'rawtext' }, raw)));
  }

  parts(turn, previous) {
    const names = Object.keys(turn.parts).sort((a, b) => {
      const place = name => FIRST_PARTS.includes(name) ? FIRST_PARTS.indexOf(name) : FIRST_PARTS.length;
      return place(a) - place(b) || a.localeCompare(b);
    });
    if (!names.length) return null;
    return h('div', { class: 'parts' }, names.flatMap(name => {
      const value = turn.parts[name], before = previous?.parts[name];
      const measured = typeof value === 'number', delta = measured && typeof before === 'number' ? value - before : 0;
      const style = ['total', 'low_level'].includes(name) ? 'main' : '';
      const width = measured ? 100 * Math.min(1, Math.max(0, value)) : 0;
      return [h('span', { class: style }, name.replaceAll('_', ' ')), h('span', { class: 'bar' }, h('i', { style: `width: ${width}%` })),
        h('span', { class: `value ${style}` }, measured ? value.toFixed(3) : String(value)),
        h('span', { class: `delta ${delta > 0 ? 'up' : 'down'}` }, Math.abs(delta) < 5e-4 ? '' : signed(delta, 3))];
    }));
  }

  programPart(program, previous) {
    if (program === null) return h('div', { class: 'codebar' }, 'no program in the response');
    if (previous === null || previous === undefined) return [h('div', { class: 'codebar' }, 'program'), programElement(program)];
    const same = program.trim() === previous.trim();
    const button = (plain, label) => h('button', { 'aria-pressed': String(this.plain === plain),
      onclick: () => { this.plain = plain; this.draw(); } }, label);
    return [h('div', { class: 'codebar' }, button(false, 'difference'), button(true, 'program'), same && 'same text as the turn before'),
      this.plain ? programElement(program) : differenceElement(previous, program)];
  }
}
