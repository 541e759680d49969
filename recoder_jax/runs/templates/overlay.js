// Runs side by side: one panel a metric, one colour a group of seeds. A run alone is drawn as measured and smoothed; of several seeds the
// smoothed lines are thin, their mean bold, and the band is one standard deviation of the seeds to each side.

const OVERLAID = [
  ['Loss', /^loss\/total$/], ['Loss a token', /^loss\/nll$/], ['Reward', /^reward\/total$/],
  ['Low-level, turn $1', /^turn(\d+)\/low_level$/], ['Executed, turn $1', /^turn(\d+)\/executed$/], ['Reward, turn $1', /^turn(\d+)\/total$/],
  ['Average improvement', /^correction\/average_improvement$/], ['$1 rate', /^correction\/(improve|degrade|repeat)_rate$/],
  ['Groups of equal rewards', /^reward\/equal_groups$/], ['Entropy', /^loss\/entropy$/], ['Gradient norm', /^optimizer\/grad_norm$/],
  ['Log-probability gap, sampler to trainer', /^sampling\/logprob_gap$/], ['Tokens a response', /^sampling\/response_tokens$/],
  ['Seconds a step', /^time\/step$/],
];

const groupColour = number => `var(${OTHERS[number % OTHERS.length]})`;
const groupDash = number => number < OTHERS.length ? 'none' : '5 4';

// Mean and standard deviation over the seeds, at the steps at which each of them has a value.
function acrossSeeds(seeds) {
  const [first, ...others] = seeds;
  const held = others.map(seed => new Map(seed.steps.map((step, index) => [step, seed.values[index]])));
  const steps = [], mean = [], std = [];
  first.steps.forEach((step, index) => {
    const values = [first.values[index], ...held.map(seed => seed.get(step) ?? null)];
    if (values.some(value => value === null)) return;
    const middle = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
    steps.push(step);
    mean.push(middle);
    std.push(Math.sqrt(squares / Math.max(1, values.length - 1)));
  });
  return { steps, mean, std };
}

// What of a metric is drawn for a group: null where none of its runs measured it.
function groupCurve(name, group, runs, weight) {
  const measured = runs.filter(run => run.values[name]?.some(value => value !== null));
  if (!measured.length) return null;
  const seeds = measured.map(run => ({ run, steps: run.steps, values: smoothed(run.values[name], weight) }));
  return { group, seeds, raw: measured.length === 1 ? measured[0].values[name] : null, ...acrossSeeds(seeds) };
}

function overlayPanel(title, name, groups, runs, view) {
  const curves = groups.map((group, number) => groupCurve(name, { ...group, number }, group.runs.map(place => runs[place]), view.weight)).filter(curve => curve);
  const drawn = curves.flatMap(curve => [...curve.seeds.flatMap(seed => seed.values), ...(curve.raw ?? []),
    ...(curve.raw ? [] : curve.mean.flatMap((value, index) => [value - curve.std[index], value + curve.std[index]]))]);
  const finite = drawn.filter(value => value !== null);
  if (!finite.length) return null;
  const { svg, y } = emptyPlot(title, finite);
  const last = Math.max(...curves.flatMap(curve => curve.seeds.map(seed => seed.steps.at(-1))));
  const first = Math.min(...curves.flatMap(curve => curve.seeds.map(seed => seed.steps[0])));
  const x = step => LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / Math.max(1, last - first);
  svg.append(svgElement('text', { x: LEFT, y: HEIGHT - 5 }, String(first)),
    svgElement('text', { x: WIDTH - RIGHT - 3, y: HEIGHT - 5, 'text-anchor': 'end' }, String(last)));
  curves.forEach(curve => drawGroup(svg, curve, x, y));
  curves.forEach(curve => curve.seeds.forEach(seed => drawMarks(svg, seed.run, name, x, groupColour(curve.group.number))));
  const cross = svgElement('line', { class: 'cross', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  svg.append(cross);
  const legend = h('div', { class: 'legend' });
  const show = step => showGroups(legend, cross, curves, step, x);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const at = first + ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (last - first);
    view.show.forEach(each => each(Math.round(Math.min(last, Math.max(first, at)))));
  });
  svg.addEventListener('pointerleave', () => view.show.forEach(each => each(null)));
  view.show.push(show);
  show(null);
  return h('div', { class: 'panel' }, h('h3', { title: name }, title), legend, svg);
}

function drawGroup(svg, curve, x, y) {
  const stroke = `stroke: ${groupColour(curve.group.number)}; stroke-dasharray: ${groupDash(curve.group.number)}`;
  const path = (kind, steps, values) => svgElement('path', { class: kind, style: stroke, d: pathOf(steps.map(x), values, y) });
  if (curve.raw) {
    svg.append(path('raw', curve.seeds[0].steps, curve.raw), path('smooth', curve.seeds[0].steps, curve.seeds[0].values));
    return;
  }
  if (curve.steps.length) {
    const edge = side => curve.steps.map((step, index) => `${x(step).toFixed(1)},${y(curve.mean[index] + side * curve.std[index]).toFixed(1)}`);
    svg.append(svgElement('path', { class: 'band', style: `fill: ${groupColour(curve.group.number)}`, d: `M${[...edge(1), ...edge(-1).reverse()].join('L')}Z` }));
  }
  curve.seeds.forEach(seed => svg.append(path('seed', seed.steps, seed.values)));
  if (curve.steps.length) svg.append(path('smooth', curve.steps, curve.mean));
}

function showGroups(legend, cross, curves, step, x) {
  cross.setAttribute('visibility', step === null ? 'hidden' : 'visible');
  if (step !== null) { cross.setAttribute('x1', x(step)); cross.setAttribute('x2', x(step)); }
  const entries = curves.map(curve => {
    const steps = curve.raw ? curve.seeds[0].steps : curve.steps, values = curve.raw ? curve.seeds[0].values : curve.mean;
    const index = step === null ? values.findLastIndex(value => value !== null) : steps.findLastIndex(each => each <= step);
    const beyond = step !== null && step > (steps.at(-1) ?? -1);
    const spread = !curve.raw && index >= 0 && !beyond ? h('small', {}, ` ± ${numberText(curve.std[index])}`) : '';
    return h('span', { style: `color: ${groupColour(curve.group.number)}` }, curve.group.label, h('b', {}, numberText(beyond ? null : values[index])), spread);
  });
  legend.replaceChildren(...entries, h('span', { class: 'where' }, step === null ? '' : `step ${step}`));
}

function showOverlay(runs, groups, place, more, slider) {
  const every = [...new Set(runs.flatMap(run => Object.keys(run.values)))].sort();
  const first = OVERLAID.flatMap(([title, pattern]) => every.filter(name => pattern.test(name)).map(name => {
    const words = name.replace(pattern, title);
    return [words[0].toUpperCase() + words.slice(1), name];
  }));
  const taken = new Set(first.map(([, name]) => name));
  const rest = every.filter(name => !taken.has(name)).map(name => [name, name]);
  const draw = () => {
    const view = { weight: Number(slider.value), show: [] };
    const panels = list => list.map(([title, name]) => overlayPanel(title, name, groups, runs, view)).filter(panel => panel);
    place.replaceChildren(...panels(first));
    more.replaceChildren(...panels(rest));
    more.closest('details').hidden = !rest.length;
    more.closest('details').querySelector('summary').textContent = `${rest.length} more metrics`;
  };
  slider.addEventListener('input', draw);
  draw();
}
