"""How to reach and treat a judge."""

import math
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class JudgeOptions:
    """How to reach and treat the judge.

    Attributes:
      base_url: address of the server, up to and with '/v1'; several, separated by commas, share the questions.
      model: name of the model there.
      key_variable: environment variable that holds the key; unset is fine for a server that asks for none.
      seconds: a judgement is given up this long after its question was first put to a server, repetitions included.
      queue_seconds: a question that waits for its turn longer than this is given up; no judgement takes longer than both together.
      attempt_seconds: an attempt is given up after this, so that another server can still be asked.
      attempts: how often one question is asked at most; being told to wait (429) does not count.
      first_pause: seconds before the second attempt; doubles each time, plus up to half at random.
      concurrency: questions in flight at a time. server_concurrency: of one server.
      breaker_failures: failures in a row after which a server is asked nothing. breaker_pause: for how many seconds.
      structured: ask for replies that follow a schema; remembered per server where it refuses.
      reply_tokens: length limit of a reply.
      max_pixels: larger images are scaled down to this before they are sent.
      cache: directory of judgements that were given; '' keeps none.
    """

    base_url: str
    model: str
    key_variable: str = 'OPENAI_API_KEY'
    seconds: float = 120.0
    queue_seconds: float = 600.0
    attempt_seconds: float = 60.0
    attempts: int = 4
    first_pause: float = 0.5
    concurrency: int = 64
    server_concurrency: int = 64
    breaker_failures: int = 5
    breaker_pause: float = 10.0
    structured: bool = True
    reply_tokens: int = 512
    max_pixels: int = 1280 * 28 * 28
    cache: str = ''

    def __post_init__(self):
        addresses(self.base_url)
        counts = ('attempts', 'concurrency', 'server_concurrency', 'breaker_failures', 'reply_tokens', 'max_pixels')
        for name in (*counts, 'seconds', 'queue_seconds', 'attempt_seconds', 'breaker_pause', 'first_pause'):
            least = 1 if name in counts else 0
            value = getattr(self, name)
            if not (math.isfinite(value) and (value >= 1 if least else value > 0)):
                raise ValueError(f'{name} of the judge is {value}; give {"at least 1" if least else "a number above 0"}')


def addresses(base_url: str) -> list[str]:
    """The servers' addresses. ValueError when one is no URL or holds a password, which it does not repeat."""
    found = [address.strip() for address in base_url.split(',')]
    for address in found:
        try:
            parts = urlsplit(address)
            secret = parts.username or parts.password or parts.query
            good = parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0
        except ValueError:
            secret, good = '@' in address, False
        if secret:
            raise ValueError('the judge address holds a user, a password or a query; give http://host:port/v1 and put the key '
                             'into the environment variable judge.key_variable')
        if not good:
            raise ValueError(f'the judge address {address!r} is not a URL; give http://host:port/v1, several separated by commas')
    return found
