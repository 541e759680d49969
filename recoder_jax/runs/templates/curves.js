// Small multiples over the chain of runs: raw values thin, smoothed ones bold, one segment a stage, one crosshair for all.
// A panel is a title, the metrics in it, and which stages it takes: the losses of SFT and of RL have different scales.

const WIDTH = 400, HEIGHT = 190, LEFT = 42, RIGHT = 8, TOP = 18, BOTTOM = 18;
const reinforced = stage => 'reward/total' in stage.values;
const PANELS = [
  ['Reward', /^reward\/(?!group_std$|equal_groups$|unjudged$|dropped_groups$)/],
  ['Reward, by turn', /^turn\d+\/total$/],
  ['Executed, by turn', /^turn\d+\/executed$/],
  ['Low-level, by turn', /^turn\d+\/low_level$/],
  ['Average improvement', /^correction\/average_improvement$/],
  ['Improve, degrade and repeat rate', /^correction\/(improve|degrade|repeat)_rate$/],
  ['How programs end', /^sandbox\//],
  ['Loss, supervised', /^loss\/total$/, stage => !reinforced(stage)],
  ['Loss, reinforcement', /^loss\/total$/, reinforced],
  ['Learning rate', /^optimizer\/lr$/],
  ['Gradient norm', /^optimizer\/grad_norm$/],
  ['Log-probability gap, sampler to trainer', /^sampling\/logprob_gap$/],
  ['Entropy', /^loss\/entropy$/],
  ['Groups of equal rewards', /^reward\/equal_groups$/],
  ['Tokens a response', /^sampling\/response_tokens$/],
  ['Tokens per second', /^throughput\/(sampled|trained)_tokens_per_s$/],
  ['Seconds a step', /^time\//],
];
const COLOURS = [
  [/^turn(\d)/, match => `var(--turn${(match[1] - 1) % 4 + 1})`],
  [/total$/, () => 'var(--ink)'], [/improve_rate$/, () => 'var(--good)'], [/degrade_rate$/, () => 'var(--bad)'],
  [/repeat_rate$/, () => 'var(--turn1)'], [/format$/, () => 'var(--muted)'], [/rule$/, () => 'var(--turn4)'],
  [/model$/, () => 'var(--turn3)'], [/sampled/, () => 'var(--turn2)'], [/trained/, () => 'var(--turn1)'], [/time\/step$/, () => 'var(--ink)'],
];
const OTHERS = ['--turn2', '--turn1', '--turn4', '--turn3', '--bad', '--target', '--good', '--muted'];

function colourOf(name, position, alone) {
  for (const [pattern, colour] of COLOURS) {
    const match = name.match(pattern);
    if (match && !(alone && pattern.source === 'total$')) return colour(match);
  }
  return `var(${OTHERS[position % OTHERS.length]})`;
}

function ticksOf(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 3));
  const size = [1, 2, 5, 10].map(factor => factor * step).find(each => (high - low) / each <= 4.5);
  const ticks = [];
  for (let index = Math.ceil(low / size - 1e-9); index * size <= high + size * 1e-9; index++) ticks.push(index * size);
  return ticks.map(tick => Number(tick.toPrecision(12)));
}

// Exponential average without the pull towards zero at the start; a missing value stays missing.
function smoothed(values, weight) {
  let sum = 0, mass = 0;
  return values.map(value => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

// A plot with its grid, as high as `finite` needs, and the height of a value in it.
function emptyPlot(title, finite) {
  let low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
  if (low >= 0 && low < 0.4 * high) low = 0;
  if (high === low) { high += Math.abs(high) || 1; low -= low > 0 ? Math.abs(low) : 0; }
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (high + 0.04 * (high - low) - value) / (1.04 * (high - low));
  const svg = svgElement('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': title });
  for (const tick of ticksOf(low, high)) {
    svg.append(svgElement('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      svgElement('text', { x: LEFT - 5, y: y(tick) + 3.5, 'text-anchor': 'end' }, shortText(tick)));
  }
  return { svg, y };
}

// A triangle on the axis at every step at which an alarm began that looks at the metric; its sentence is the tooltip.
function drawMarks(svg, run, name, x, colour) {
  for (const mark of run.marks.filter(each => each.metrics.includes(name))) {
    const at = x(mark.step), bottom = HEIGHT - BOTTOM;
    svg.append(svgElement('path', { class: 'mark', style: `fill: ${colour}`, d: `M${at.toFixed(1)},${bottom - 10}l5.5,10h-11Z` },
      svgElement('title', {}, `step ${mark.step}, ${mark.sentence}`)));
  }
}

function panelElement(title, names, stages, view) {
  const segments = segmentsOf(names, stages, view.weight);
  const finite = segments.flatMap(segment => names.flatMap(name => (segment.raw[name] ?? []).filter(value => value !== null)));
  if (!finite.length) return null;
  const { svg, y } = emptyPlot(title, finite);
  const alone = names.length === 1;
  segments.forEach((segment, number) => drawSegment(svg, segment, names, y, number, segments.length, alone));
  const cross = svgElement('line', { class: 'cross', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  svg.append(cross);
  const legend = h('div', { class: 'legend' });
  const panel = h('div', { class: 'panel' }, h('h3', {}, title), legend, svg);
  const show = (stage, index) => showValues(legend, cross, segments, names, stage, index, alone);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * WIDTH;
    const segment = segments.find(each => at <= each.right) ?? segments.at(-1);
    let index = 0;
    segment.x.forEach((x, k) => { if (Math.abs(x - at) < Math.abs(segment.x[index] - at)) index = k; });
    view.show.forEach(each => each(segment.stage, index));
  });
  svg.addEventListener('pointerleave', () => view.show.forEach(each => each(null)));
  view.show.push(show);
  show(null);
  return panel;
}

// Each stage that measured one of the names gets a share of the width that grows with the root of its steps, so that a
// short stage after a long one stays readable.
function segmentsOf(names, stages, weight) {
  const present = stages.filter(stage => names.some(name => stage.values[name]?.some(value => value !== null)));
  const shares = present.map(stage => Math.sqrt(Math.max(2, stage.steps.length)));
  const whole = shares.reduce((sum, share) => sum + share, 0);
  let left = LEFT;
  return present.map((stage, number) => {
    const right = left + (WIDTH - LEFT - RIGHT) * shares[number] / whole;
    const first = stage.steps[0], span = Math.max(1, stage.steps.at(-1) - first);
    const inset = present.length > 1 ? 3 : 0;
    const from = left, to = right, place = step => from + inset + (to - from - 2 * inset) * (Math.min(step, stage.steps.at(-1)) - first) / span;
    const segment = { stage, left, right, place, raw: {}, smooth: {}, x: stage.steps.map(place) };
    for (const name of names) {
      if (!stage.values[name]) continue;
      segment.raw[name] = stage.values[name];
      segment.smooth[name] = smoothed(stage.values[name], weight);
    }
    left = right;
    return segment;
  });
}

function drawSegment(svg, segment, names, y, number, count, alone) {
  if (number) svg.append(svgElement('line', { class: 'border', x1: segment.left, x2: segment.left, y1: 4, y2: HEIGHT - BOTTOM }));
  const space = segment.right - segment.left;
  if (count > 1 && space > 34) {
    const room = Math.floor((space - 6) / 5.6), name = segment.stage.name;
    const label = svgElement('text', { x: segment.left + 4, y: 11 }, name.length > room ? name.slice(0, room - 1) + '…' : name);
    svg.append(label);
  }
  const steps = segment.stage.steps;
  svg.append(svgElement('text', { x: segment.right - 3, y: HEIGHT - 5, 'text-anchor': 'end' }, String(steps.at(-1))));
  if (space > 60) svg.append(svgElement('text', { x: segment.left + (count > 1 ? 4 : 0), y: HEIGHT - 5 }, String(steps[0])));
  names.forEach((name, position) => {
    if (!segment.raw[name]) return;
    const stroke = `stroke: ${colourOf(name, position, alone)}`;
    svg.append(svgElement('path', { class: 'raw', style: stroke, d: pathOf(segment.x, segment.raw[name], y) }),
      svgElement('path', { class: 'smooth', style: stroke, d: pathOf(segment.x, segment.smooth[name], y) }));
    drawMarks(svg, segment.stage, name, segment.place, 'var(--bad)');
  });
}

// Steps without a value are bridged: an evaluation every ten steps is a line, not dots.
function pathOf(x, values, y) {
  const points = values.map((value, index) => value === null ? null : `${x[index].toFixed(1)},${y(value).toFixed(1)}`);
  const present = points.filter(point => point !== null);
  return 'M' + (present.length === 1 ? `${present[0]} h0.01` : present.join('L'));
}

function showValues(legend, cross, segments, names, stage, index, alone) {
  const segment = stage ? segments.find(each => each.stage === stage) : null;
  const from = segment ?? segments.at(-1);
  cross.setAttribute('visibility', segment ? 'visible' : 'hidden');
  if (segment) { cross.setAttribute('x1', segment.x[index]); cross.setAttribute('x2', segment.x[index]); }
  const entries = names.filter(name => segments.some(each => each.raw[name])).map(name => {
    const values = segment ? segment.raw[name] : from.smooth[name];
    const value = segment ? values?.[index] : values?.findLast(each => each !== null);
    const label = alone ? name : name.replace(/^(turn)(\d+)\/.*/, '$1 $2').replace(/^[a-z]+\//, '').replace(/_rate$/, '').replaceAll('_', ' ');
    const style = `color: ${colourOf(name, names.indexOf(name), alone)}`;
    return h('span', { style }, label, h('b', {}, numberText(value)));
  });
  legend.replaceChildren(...entries, h('span', { class: 'where' }, segment ? `step ${stage.steps[index]}` : ''));
}

function shortText(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return Number(value.toPrecision(3)).toExponential().replace('e+', 'e');
  return String(Number(value.toPrecision(4)));
}

function svgElement(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function showCurves(stages, place, more, slider) {
  const every = [...new Set(stages.flatMap(stage => Object.keys(stage.values)))].sort();
  const taken = new Set();
  const groups = PANELS.map(([title, pattern, takes = () => true]) => {
    const names = every.filter(name => pattern.test(name));
    names.forEach(name => taken.add(name));
    return [title, names, stages.filter(takes)];
  });
  const rest = every.filter(name => !taken.has(name)).map(name => [name, [name], stages]);
  const draw = () => {
    const view = { weight: Number(slider.value), show: [] };
    const panels = list => list.map(([title, names, taken]) => panelElement(title, names, taken, view)).filter(panel => panel);
    place.replaceChildren(...panels(groups));
    more.replaceChildren(...panels(rest));
    more.closest('details').hidden = !rest.length;
    more.closest('details').querySelector('summary').textContent = `${rest.length} more metrics`;
  };
  slider.addEventListener('input', draw);
  draw();
}
