"""Parsing of responses: the canonical form, the malformed forms models write, and any text at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.dialogue.response import parse_response, write_response

PROGRAM = "import matplotlib.pyplot as plt\nplt.bar([1, 2], [3, 4])\nplt.savefig('chart.png')"
CANONICAL = f'<think>\na bar chart\n</think>\n```python\n{PROGRAM}\n```'

# (what is odd, text, expected think, expected program)
MALFORMED = [
    ('no think', f'```python\n{PROGRAM}\n```', None, PROGRAM),
    ('think not closed', f'<think>\nbars\n```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('think not opened', f'bars\n</think>\n```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('cut inside the program', f'<think>bars</think>\n```python\n{PROGRAM}', 'bars', PROGRAM),
    ('cut inside the thoughts', '<think>\nbars of', 'bars of', None),
    ('short language name', f'<think>bars</think>\n```py\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('capital language name', f'<think>bars</think>\n```Python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('bare fence', f'<think>bars</think>\n```\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('a draft before the answer', f'<think>bars</think>\n```python\nx = 1\n```\nor\n```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('output shown after it', f'<think>bars</think>\n```python\n{PROGRAM}\n```\n```\ndone\n```', 'bars', PROGRAM),
    ('a second block that was cut', f'<think>bars</think>\n```python\n{PROGRAM}\n```\n```python\nimport', 'bars', PROGRAM),
    ('another language first', f'<think>bars</think>\n```bash\npip install x\n```\n```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('only another language', '<think>bars</think>\n```bash\npip install x\n```', 'bars', None),
    ('text after the fence', f'{CANONICAL}\nThis draws the chart.', 'a bar chart', PROGRAM),
    ('text before the thoughts', f'Sure. {CANONICAL}', 'a bar chart', PROGRAM),
    ('text between', f'<think>bars</think>\nHere it is:\n```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('no fence', f'<think>bars</think>\n{PROGRAM}', 'bars', PROGRAM),
    ('no fence, words first', f'Here is the program.\n{PROGRAM}', None, PROGRAM),
    ('fence behind words', f'<think>bars</think> Here: ```python\n{PROGRAM}\n```', 'bars', PROGRAM),
    ('closing fence behind the last statement', f'<think>bars</think>\n```python\n{PROGRAM}```', 'bars', PROGRAM),
    ('program inside the thoughts only', f'<think>bars\n```python\n{PROGRAM}\n```\n</think>', f'bars\n```python\n{PROGRAM}\n```', PROGRAM),
    ('two think blocks', f'<think>a</think><think>b</think>\n```python\n{PROGRAM}\n```', 'a', PROGRAM),
    ('think tag inside the thoughts', f'<think>a<think>b</think>\n```python\n{PROGRAM}\n```', 'a<think>b', PROGRAM),
    ('two closing tags', f'<think>a</think></think>\n```python\n{PROGRAM}\n```', 'a', PROGRAM),
    ('blank program', '<think>bars</think>\n```python\n\n```', 'bars', None),
    ('nothing', '', None, None),
    ('words only', 'I cannot draw this.', None, None),
]


def test_canonical_text_is_well_formed():
    response = parse_response(CANONICAL)
    assert (response.think, response.program, response.well_formed) == ('a bar chart', PROGRAM, True)
    assert write_response('a bar chart', PROGRAM) == CANONICAL


@pytest.mark.parametrize('text', [
    f'\n  {CANONICAL}\n\n',
    f'<think>a</think>```python\n{PROGRAM}\n```',
    f'<think>\n</think>\n\n```python\n{PROGRAM}\n```',
    CANONICAL.replace('\n', '\r\n'),
    f"<think>see ```x``` here</think>\n```python\nt = '```'\n{PROGRAM}\n```",
])
def test_white_space_and_inner_backticks_leave_the_form_whole(text):
    assert parse_response(text).well_formed
    assert PROGRAM in parse_response(text).program


@pytest.mark.parametrize(('text', 'think', 'program'), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_response_still_yields_its_program(text, think, program):
    response = parse_response(text)
    assert (response.think, response.program, response.well_formed) == (think, program, False)


PIECES = ['<think>', '</think>', '```', '```python', '```py', '\n', '\r', ' ', 'import a', 'x = 1', 'é', '\x00', '`']


@given(st.text() | st.lists(st.sampled_from(PIECES)).map(''.join))
@settings(max_examples=500, deadline=None)
def test_any_text_is_parsed_without_an_exception(text):
    response = parse_response(text)
    assert response.text == text
    if response.well_formed:
        assert response.think is not None and response.program.strip()
        assert text.strip().startswith('<think>') and text.strip().endswith('```')
        assert text.count('```python') >= 1


@given(st.text(), st.text())
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(think, program):
    try:
        text = write_response(think, program)
    except ValueError:
        return
    response = parse_response(text)
    assert response.well_formed
    assert (response.think, response.program) == (think.strip(), program.replace('\r\n', '\n').strip('\n'))
    assert write_response(response.think, response.program) == text


@pytest.mark.parametrize(('think', 'program'), [('</think>', 'x = 1'), ('a', ' \n'), ('a', 'x = """\n```\n"""')])
def test_parts_that_would_break_the_form_are_refused(think, program):
    with pytest.raises(ValueError, match=r'(remove|give|rewrite)'):
        write_response(think, program)
