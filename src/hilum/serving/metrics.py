"""Counters and histograms in Prometheus' text form; labels are set phrases, so no file and no person is in them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the histograms' ranges, in seconds."""
STAGES = ("upload", "decode", "model", "whole")
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What the service has done since it started."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        """(route, outcome) -> count; the outcome is a status of a film or the code of a failure."""
        self.refusals: Counter[str] = Counter()
        self.batches: Counter[int] = Counter()
        """Films of a batch -> count."""
        self.deaths = 0
        self._seconds = {stage: [0] * (len(BOUNDS) + 1) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)

    def observe(self, stage: str, seconds: float) -> None:
        """Count how long a stage took, an entry of STAGES."""
        self._seconds[stage][bisect_left(BOUNDS, seconds)] += 1
        self._sums[stage] += seconds

    def text(self, now: Mapping[str, float], model: Mapping[str, str]) -> str:
        """Return all of it as text.

        Args:
            now: Name -> value of what changes up and down.
            model: Labels of the model.
        """
        return "\n".join(self._lines(now, model)) + "\n"

    def _lines(self, now: Mapping[str, float], model: Mapping[str, str]) -> Iterator[str]:
        yield from _family("answers_total", "counter", "Answers by route and outcome.")
        for (route, outcome), count in sorted(self.answers.items()):
            yield f'hilum_answers_total{{route="{route}",outcome="{outcome}"}} {count}'
        yield from _family("refusals_total", "counter", "Films refused by the gate, by reason.")
        for reason, count in sorted(self.refusals.items()):
            yield f'hilum_refusals_total{{reason="{reason}"}} {count}'
        yield from _family("decoder_deaths_total", "counter", "Decoding processes that ended.")
        yield f"hilum_decoder_deaths_total {self.deaths}"
        yield from _family("batch_films_total", "counter", "Films by the size of their batch.")
        for films, count in sorted(self.batches.items()):
            yield f'hilum_batch_films_total{{size="{films}"}} {films * count}'
        yield from _family("seconds", "histogram", "Seconds that a stage took.")
        for stage, counts in self._seconds.items():
            sums = list(accumulate(counts))
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), sums, strict=True):
                yield f'hilum_seconds_bucket{{stage="{stage}",le="{bound}"}} {count}'
            yield f'hilum_seconds_sum{{stage="{stage}"}} {self._sums[stage]:.6f}'
            yield f'hilum_seconds_count{{stage="{stage}"}} {sums[-1]}'
        for name, value in now.items():
            yield from _family(name, "gauge", name.replace("_", " ").capitalize() + ".")
            yield f"hilum_{name} {value:g}"
        yield from _family("model_info", "gauge", "The model that answers.")
        labels = ",".join(f'{name}="{value}"' for name, value in model.items())
        yield f"hilum_model_info{{{labels}}} 1"


def _family(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP hilum_{name} {about}", f"# TYPE hilum_{name} {kind}"
