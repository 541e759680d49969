"""HTML documents, rendered by Chromium's headless shell, started once for each document.

The document is the only thing that its browser can load. It is given at an address that nobody has; whatever it asks for beyond itself, from the
network or a file, ends it as `forbidden`, and behind that stand the walls of the process: no interface, no socket, no file outside, no further
program. Scripts run on a clock of their own that starts at the same moment each time and stops after BUDGET; Math.random starts from one seed.

    asks for anything outside of it                          forbidden
    lays out more pixels than allowed                        output
    ends its browser                                         error, or memory where the browser says so
    a script that does not end                               timeout, at the deadline of programs

The picture is the whole page, WIDTH wide and HEIGHT high at least, on white, with the fonts of matplotlib. A page that takes over its browser can
forge its own picture, and still stands behind the walls.
"""

import base64
import fcntl
import importlib.util
import io
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np

from recoder_jax.languages.language import Guest, Language, Renderer, Unrendered

WIDTH, HEIGHT = 800, 600
BUDGET = 5_000                    # milliseconds of the page's clock, which does not wait for anything
START = 1_700_000_000.0           # of that clock, in seconds since 1970
_ADDRESS = 'http://document.invalid/'
_FLAGS = ('--headless', '--in-process-gpu', '--no-zygote', '--no-sandbox', '--remote-debugging-pipe', '--disable-gpu', '--disable-dev-shm-usage',
          '--disable-breakpad', '--disable-crash-reporter', '--disable-background-networking', '--disable-component-update', '--disable-extensions',
          '--disable-sync', '--no-first-run', '--no-default-browser-check', '--hide-scrollbars', '--mute-audio', '--force-color-profile=srgb',
          '--font-render-hinting=none', '--disable-lcd-text', '--host-resolver-rules=MAP * ~NOTFOUND', '--user-data-dir=profile',
          '--js-flags=--random-seed=1', 'about:blank')
# Browsers without windows only: one with windows opens a socket that others could reach, which the walls deny.
_NAMES = ('chromium-headless-shell', 'chrome-headless-shell', 'headless_shell', '/usr/lib/chromium/chromium-headless-shell')
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}</dir><cachedir>{cache}</cachedir>
{aliases}</fontconfig>
"""
_FAMILIES = {'sans-serif': 'DejaVu Sans', 'serif': 'DejaVu Serif', 'monospace': 'DejaVu Sans Mono', 'system-ui': 'DejaVu Sans'}
_OUT_OF_MEMORY = re.compile(rb'out of memory|OOM', re.IGNORECASE)


class _Browser:
    """A browser that is spoken to over two pipes, in Chrome's DevTools protocol: messages in JSON, each ended by a zero byte."""

    def __init__(self, path: str):
        """Starts it in the current directory, which is empty and holds its profile. OSError where it cannot be started."""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        def place() -> None:              # the protocol asks for the descriptors 3 and 4
            for end, number in [(fcntl.fcntl(end, fcntl.F_DUPFD, 10), number) for number, end in ((3, theirs_in), (4, theirs_out))]:
                os.dup2(end, number)

        with open('browser.log', 'wb') as log:
            self._process = subprocess.Popen([path, *_FLAGS], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=_environment(),
                                             pass_fds=(3, 4), preexec_fn=place)
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._sent, self._session = b'', 0, {}

    def attach(self) -> None:
        """Speaks to the first page from here on."""
        page = next(target for target in self.call('Target.getTargets')['targetInfos'] if target['type'] == 'page')
        self._session = {'sessionId': self.call('Target.attachToTarget', targetId=page['targetId'], flatten=True)['sessionId']}

    def send(self, method: str, **parameters) -> int:
        """Sends a command and waits for nothing; its number."""
        self._sent += 1
        message = json.dumps({'id': self._sent, 'method': method, 'params': parameters} | self._session).encode() + b'\0'
        try:
            while message:
                message = message[os.write(self._out, message):]
        except BrokenPipeError:
            raise self._ended() from None
        return self._sent

    def call(self, method: str, **parameters) -> dict:
        """The result of a command; what happens meanwhile is answered."""
        number = self.send(method, **parameters)
        while (message := self.next()).get('id') != number:
            pass
        if 'error' in message:
            raise Unrendered('error', f'the browser refuses {method}: {message["error"].get("message", "")}')
        return message['result']

    def next(self) -> dict:
        """The next message. Dialogues are closed; Unrendered where the page asks for something outside of it, or ends."""
        while b'\0' not in self._read:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise self._ended()
            self._read += part
        head, _, self._read = self._read.partition(b'\0')
        message = json.loads(head)
        self._answer(message.get('method', ''), message.get('params', {}))
        return message

    def _answer(self, method: str, parameters: dict) -> None:
        if method == 'Page.javascriptDialogOpening':
            self.send('Page.handleJavaScriptDialog', accept=False)
        elif method == 'Inspector.targetCrashed':
            raise Unrendered('error', 'the page crashed')
        elif method == 'Log.entryAdded' and parameters['entry']['text'].startswith('Not allowed to load local resource'):
            raise Unrendered('forbidden', parameters['entry']['text'][:120] + '; nothing outside of the document can be read')
        elif method == 'Fetch.requestPaused' and (url := parameters['request']['url']) != _ADDRESS:
            raise Unrendered('forbidden', f'the page asks for {url[:80]!r}; nothing outside of the document can be read')

    def _ended(self) -> Exception:
        code = self._process.wait()
        return MemoryError() if _OUT_OF_MEMORY.search(Path('browser.log').read_bytes()) else Unrendered('error', f'the page ended its browser ({code})')

    def close(self) -> None:
        """Hangs up, upon which the browser ends; the end of this process would end it too."""
        os.close(self._out)
        os.close(self._in)


def _environment() -> dict[str, str]:
    """Of the browser: nothing but its directory, and a list of fonts that has matplotlib's alone."""
    folder = Path(importlib.util.find_spec('matplotlib').origin).parent / 'mpl-data' / 'fonts' / 'ttf'
    aliases = ''.join(f'<alias binding="same"><family>{name}</family><prefer><family>{font}</family></prefer></alias>\n' for name, font in _FAMILIES.items())
    os.mkdir('fonts')
    Path('fonts.conf').write_text(_FONTS.format(folder=folder, cache=Path('fonts').absolute(), aliases=aliases))
    here = os.getcwd()
    return {'HOME': here, 'TMPDIR': here, 'FONTCONFIG_FILE': f'{here}/fonts.conf', 'PATH': '/usr/bin:/bin', 'LANG': 'C.UTF-8', 'TZ': 'UTC'}


def draft(document: str, path: str, most_pixels: int) -> bytes:
    """The page as PNG. Raises Unrendered, MemoryError, and OSError where the browser cannot be started."""
    browser = _Browser(path)
    browser.attach()
    for domain in ('Page', 'Inspector', 'Log'):
        browser.call(f'{domain}.enable')
    browser.call('Emulation.setDeviceMetricsOverride', width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    browser.call('Fetch.enable', patterns=[{'urlPattern': '*'}])
    browser.send('Emulation.setVirtualTimePolicy', policy='pause', initialVirtualTime=START)
    browser.send('Page.navigate', url=_ADDRESS)
    while (event := (message := browser.next()).get('method')) != 'Emulation.virtualTimeBudgetExpired':
        if event == 'Page.frameNavigated' and 'parentId' not in message['params']['frame']:
            browser.send('Emulation.setVirtualTimePolicy', policy='pauseIfNetworkFetchesPending', budget=BUDGET)
        elif event == 'Fetch.requestPaused' and message['params']['request']['url'] == _ADDRESS:
            browser.send('Fetch.fulfillRequest', requestId=message['params']['requestId'], responseCode=200, body=base64.b64encode(document.encode()).decode(),
                         responseHeaders=[{'name': 'Content-Type', 'value': 'text/html; charset=utf-8'}])
    size = browser.call('Page.getLayoutMetrics')['cssContentSize']
    width, height = max(WIDTH, int(size['width'])), max(HEIGHT, int(size['height']))
    if width * height > most_pixels:
        raise Unrendered('output', f'the page has {width} x {height} pixels, more than {most_pixels}; give a smaller width and height')
    if (width, height) != (WIDTH, HEIGHT):
        browser.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
    browser.send('Emulation.setVirtualTimePolicy', policy='advance')      # without time nothing is painted
    shot = browser.call('Page.captureScreenshot', format='png')
    browser.close()
    return base64.b64decode(shot['data'])


def render(png: bytes, most_pixels: int) -> np.ndarray:
    """The pixels of a draft, uint8 [H, W, 3]. Raises Unrendered for one that is larger than `most_pixels`."""
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=['png']) as image:
        if image.width * image.height > most_pixels:
            raise Unrendered('output', f'the page has {image.width} x {image.height} pixels, more than {most_pixels}')
        return np.ascontiguousarray(image.convert('RGB'))


def warm() -> None:
    """Imports what reads a picture."""
    from PIL import Image, PngImagePlugin  # noqa: F401


LANGUAGE = Language(
    name='html',
    fences=('html',),
    inline=('html',),
    unfenced=re.compile(r'(?:<!DOCTYPE\s+html[^>]*>\s*)?<html\b(?:[\s\S]*</html>|[\s\S]*)', re.IGNORECASE),
    draw='Think in <think></think>. Then write one html block that draws this chart as a page.',
    missing='no html block found in the response',
    suffix='.html',
    renderer=Renderer(warm, render, package='PIL', guest=Guest(
        draft, '<p>a</p>', _NAMES, debian='chromium-headless-shell', reserves=True,
        layers=('private_root', 'network_namespace', 'pid_namespace', 'landlock', 'thread_limit'))),
)
