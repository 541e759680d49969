// Elements, colouring of Python and of markup, and line differences. All text enters the page through textContent: nothing that a
// program, a log or a response contains can become markup.

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

function numberText(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1).replace('e+', 'e');
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

const PYTHON = new RegExp([
  String.raw`(?<comment>#.*)`,
  String.raw`(?<string>[rbfuRBFU]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?))`,
  String.raw`\b(?<keyword>False|None|True|and|as|assert|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|not|or|pass|raise|return|try|while|with|yield)\b`,
  String.raw`(?<digit>\b\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?)`,
  String.raw`(?<call>[A-Za-z_]\w*(?=\())`,
  String.raw`(?<name>[A-Za-z_]\w*)`,
  String.raw`(?<space>\s+)`,
  String.raw`(?<other>[^])`,
].join('|'), 'g');

const MARKUP = new RegExp([
  String.raw`(?<comment><!--.*?(?:-->|$))`,
  String.raw`(?<keyword><[\/?!]?[\w:.-]*|[\/?]?>)`,
  String.raw`(?<string>"[^"]*"?|'[^']*'?)`,
  String.raw`(?<call>[\w:.-]+(?==))`,
  String.raw`(?<name>[^<>"'=\s]+)`,
  String.raw`(?<space>\s+)`,
  String.raw`(?<other>[^])`,
].join('|'), 'g');

// What a program is coloured by: tags and text where it begins with a tag, else Python.
function formOf(program) { return /^\s*</.test(program) ? MARKUP : PYTHON; }

// [[class, text], ...] of one line; a string over several lines is coloured on its first line only.
function tokensOf(line, form) {
  return Array.from(line.matchAll(form), match => {
    const [kind, text] = Object.entries(match.groups).find(([, value]) => value !== undefined);
    return [kind, text];
  });
}

function lineElement(tokens, kind, mark, changed = new Set()) {
  const pieces = tokens.map(([token, text], index) => {
    const piece = ['name', 'space', 'other'].includes(token) ? text : h('span', { class: token }, text);
    return changed.has(index) ? h('mark', {}, piece) : piece;
  });
  return h('span', { class: `line ${kind}`, 'data-mark': mark }, pieces);
}

function programElement(program) {
  const lines = program.replace(/\s+$/, '').split('\n'), form = formOf(program);
  return h('pre', { tabindex: 0 }, lines.map((line, index) => lineElement(tokensOf(line, form), '', String(index + 1))));
}

// Longest common subsequence as pairs of indices; beyond four million cells only the common head and tail are matched.
function commonPairs(a, b) {
  const pairs = [];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) { pairs.push([head, head]); head++; }
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const rows = a.length - head - tail, columns = b.length - head - tail;
  if (rows * columns <= 4e6) {
    const width = columns + 1, best = new Uint32Array((rows + 1) * width);
    for (let i = rows - 1; i >= 0; i--) {
      for (let j = columns - 1; j >= 0; j--) {
        best[i * width + j] = a[head + i] === b[head + j] ? best[(i + 1) * width + j + 1] + 1
          : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      }
    }
    for (let i = 0, j = 0; i < rows && j < columns;) {
      if (a[head + i] === b[head + j]) pairs.push([head + i++, head + j++]);
      else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) i++;
      else j++;
    }
  }
  for (let k = tail; k > 0; k--) pairs.push([a.length - k, b.length - k]);
  return pairs;
}

function changedTokens(before, after) {
  const first = before.map(token => token[1]), second = after.map(token => token[1]);
  const pairs = commonPairs(first, second);
  const shared = pairs.filter(([i]) => before[i][0] !== 'space').length;
  // Lines with little in common are shown as replaced, not as patchwork.
  if (shared * 3 < Math.min(first.length, second.length)) return [new Set(), new Set()];
  const keptBefore = new Set(pairs.map(pair => pair[0])), keptAfter = new Set(pairs.map(pair => pair[1]));
  const left = (texts, kept) => new Set([...texts.keys()].filter(index => !kept.has(index)));
  return [left(first, keptBefore), left(second, keptAfter)];
}

function differenceElement(before, after) {
  const a = before.replace(/\s+$/, '').split('\n'), b = after.replace(/\s+$/, '').split('\n');
  const lines = [], form = formOf(before), colour = line => tokensOf(line, form);
  let i = 0, j = 0;
  for (const [nextI, nextJ] of [...commonPairs(a, b), [a.length, b.length]]) {
    const removed = a.slice(i, nextI).map(colour), added = b.slice(j, nextJ).map(colour);
    const marks = removed.length === added.length ? removed.map((tokens, k) => changedTokens(tokens, added[k])) : [];
    lines.push(...removed.map((tokens, k) => lineElement(tokens, 'removed', '−', marks[k]?.[0])));
    lines.push(...added.map((tokens, k) => lineElement(tokens, 'added', '+', marks[k]?.[1])));
    if (nextI < a.length) lines.push(lineElement(colour(a[nextI]), '', ' '));
    i = nextI + 1; j = nextJ + 1;
  }
  return h('pre', { tabindex: 0 }, lines);
}
