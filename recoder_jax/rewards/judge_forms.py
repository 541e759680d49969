"""The questions that a judge can be asked, and how the reply to each is read.

    points    six items of 100 points, target beside render: the model reward and ChartMimic's high-level score (judge_prompt.py)
    rating    1 to 10, target beside render: Plot2Code's, read from "Rating: [[7]]" as its evaluation reads it (TencentARC/Plot2Code at 12bd95a)
    grade     0 to 5, from text alone: ChartX's for redrawing, the first digit of the reply as its evaluation reads it (ChartVLM at cdca27c)

The scales and the way to read them are the benchmarks'; every sentence is ours.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass

from recoder_jax.rewards.judge_prompt import ITEMS, REPLY_FORMAT, TEXT, TOTAL, parse_reply, points_of

Points = dict[str, float]


@dataclass(frozen=True)
class Form:
    """A kind of question.

    text: what is asked, before what is compared. most: points of a full score. sought: what a reply must hold, for sentences. read: the points in
    a reply, None where it holds none. known: points from JSON that was kept, None where it is none. schema: of replies, for servers that follow one.
    """

    name: str
    text: str
    most: float
    sought: str
    read: Callable[[str], Points | None]
    known: Callable[[object], Points | None]
    schema: dict | None = None


@dataclass(frozen=True)
class Sheet:
    """One question as it is sent. images: PNG, in their order."""

    form: Form
    text: str
    images: tuple[bytes, ...] = ()

    def messages(self) -> list[dict]:
        """Chat messages: the text, then the images; their order changes what judges answer."""
        shown = [{'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,' + base64.b64encode(png).decode()}} for png in self.images]
        return [{'role': 'user', 'content': [{'type': 'text', 'text': self.text}, *shown]}]


def _number(name: str, text: str, least: int, most: int, pattern: str) -> Form:
    """A form whose reply is one whole number of `least` to `most`, in the first group of `pattern`."""

    def known(value) -> Points | None:
        number = value.get(name) if isinstance(value, dict) and value.keys() == {name} else None
        good = isinstance(number, int | float) and not isinstance(number, bool) and least <= number <= most
        return {name: float(number)} if good else None

    def read(reply: str) -> Points | None:
        found = re.search(pattern, reply)
        return known({name: int(found[1])}) if found else None

    return Form(name, text, most, name, read, known)


POINTS = Form('points', TEXT, TOTAL, f'points for the {len(ITEMS)} items', parse_reply, points_of, REPLY_FORMAT)
RATING = _number('rating', '\n'.join([
    'The first image is a plot that was made with matplotlib. The second was drawn by a program that a model wrote to reproduce the first.',
    'How similar are they? Look at the whole, at colours, shapes and positions, and at everything else that can be seen.',
    'Explain in a few sentences what agrees and what differs, without favour. Then end with a rating from 1, nothing in common, to 10, no difference,',
    'in exactly this form: "Rating: [[n]]", for example "Rating: [[4]]".']), 1, 10, r'Rating:\s*\[\[(\d{1,3})\]\]')  # fmt: skip
GRADE = _number('grade', '\n'.join([
    'A model was shown a chart and wrote code that is to draw it again. You see the data, the title and the type of the chart, and the code.',
    'Grade how well the code agrees with them:',
    '0: it does not work, or what it draws has nothing to do with the chart.',
    '1: it is an attempt, and hardly anything of the chart is in it.',
    '2: some of the structure or of the data is right, and important parts are wrong or missing.',
    '3: most of the structure and of the data is right, and small errors or gaps are left.',
    '4: structure and data are whole and right, and only details differ.',
    '5: everything is right; nobody could tell its chart from the original.',
    'Answer with the digit alone.']), 0, 5, r'([0-5])')  # fmt: skip
FORMS = {form.name: form for form in (POINTS, RATING, GRADE)}


def grade_text(data: str, title: str, kind: str, program: str) -> str:
    """The whole text of a question for a grade."""
    whole = f'{GRADE.text}\n\nData:\n{data}\nTitle: {title}\nType: {kind}\n\nCode:\n{program}'
    return whole.encode('utf-8', 'replace').decode('utf-8')      # a response may hold half of a surrogate pair
