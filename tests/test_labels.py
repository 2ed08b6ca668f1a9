from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import OptionError
from hilum.labels import POLICIES, LabelOptions, apply_policy, labelled, policies, scored

NAN = np.nan
LABELS = np.float32([[1, -1], [0, NAN], [-1, 1], [NAN, 0]])
cells = st.lists(
    st.tuples(*[st.sampled_from([1.0, 0.0, -1.0, NAN])] * 3), min_size=1, max_size=12
).map(lambda rows: np.float32(rows))


@pytest.mark.parametrize(
    ("uncertain", "targets", "weights"),
    [
        ("zeros", [[1, 0], [0, 0], [0, 1], [0, 0]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("ones", [[1, 1], [0, 0], [1, 1], [0, 0]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("ignore", [[1, 0], [0, 0], [0, 1], [0, 0]], [[1, 0], [1, 1], [0, 1], [1, 1]]),
        ("self-train", [[1, 0], [0, 0], [0, 1], [0, 0]], [[1, 0], [1, 1], [0, 1], [1, 1]]),
        ("smooth", [[1, 0.7], [0, 0], [0.7, 1], [0, 0]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("multiclass", [[1, 2], [0, 0], [2, 1], [0, 0]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        (
            ("multiclass", "smooth"),
            [[1, 0.7], [0, 0], [2, 1], [0, 0]],
            [[1, 1], [1, 1], [1, 1], [1, 1]],
        ),
        (("ones", "ignore"), [[1, 0], [0, 0], [1, 1], [0, 0]], [[1, 0], [1, 1], [1, 1], [1, 1]]),
    ],
)
def test_each_policy_by_hand(
    uncertain: str | tuple[str, ...], targets: list, weights: list
) -> None:
    found = apply_policy(LABELS, uncertain)
    np.testing.assert_array_equal(found[0], np.float32(targets))
    np.testing.assert_array_equal(found[1], weights)
    assert found[0].dtype == found[1].dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 0.15, 1.0])
def test_smooth_takes_what_it_is_told(value: float) -> None:
    assert apply_policy(LABELS, "smooth", smooth=value)[0][0, 1] == np.float32(value)
    assert LabelOptions(smooth=value).smooth == value
    for wrong in (value + 1.1, value - 1.1, NAN):
        with pytest.raises(OptionError, match=r"--labels.smooth is .*: allowed is 0 to 1"):
            LabelOptions(smooth=wrong)


def test_unstated_may_be_ignored() -> None:
    np.testing.assert_array_equal(
        apply_policy(LABELS, "ones", "ignore")[1], [[1, 1], [1, 0], [1, 1], [0, 1]]
    )


@pytest.mark.parametrize("unstated", ["absent", "ignore"])
def test_a_finding_that_the_source_never_states_is_masked_whatever_the_switch(
    unstated: str,
) -> None:
    labels = np.float32([[1, NAN], [0, NAN]])
    assert apply_policy(labels, "ones", unstated)[1].tolist() == [[1, 0], [1, 0]]
    assert scored(labels, unstated)[1].tolist() == [[True, False], [True, False]]
    assert labelled(labels).tolist() == [True, False]


def test_a_share_of_the_films_is_judged_by_the_whole_source() -> None:
    labels = np.float32([[1, NAN], [0, NAN]])
    stated = np.array([True, True])
    assert apply_policy(labels, "ones", "absent", stated)[1].all()
    assert scored(labels, "absent", stated)[1].all()


@given(
    labels=cells,
    policy=st.sampled_from(sorted(POLICIES)),
    unstated=st.sampled_from(["absent", "ignore"]),
)
def test_stated_cells_are_never_changed(labels: np.ndarray, policy: str, unstated: str) -> None:
    before = labels.copy()
    targets, weights = apply_policy(labels, policy, unstated)
    np.testing.assert_array_equal(labels, before)
    stated = np.isin(labels, (0, 1))
    np.testing.assert_array_equal(targets[stated], labels[stated])
    assert (weights[stated] == 1).all()
    assert np.isfinite(targets).all()
    assert np.isin(weights, (0, 1)).all()


@given(labels=cells, unstated=st.sampled_from(["absent", "ignore"]))
def test_evaluation_never_scores_an_uncertain_cell(labels: np.ndarray, unstated: str) -> None:
    truth, counts = scored(labels, unstated)
    assert not counts[labels == -1].any()
    assert counts[np.isin(labels, (0, 1))].all()
    np.testing.assert_array_equal(truth[counts], labels[counts] == 1)
    missing = np.isnan(labels)
    expected = missing & labelled(labels) if unstated == "absent" else missing & False
    np.testing.assert_array_equal(counts & missing, expected)


def test_overrides_by_finding() -> None:
    assert policies(("Edema", "Pleural Effusion"), "zeros", {"effusion": "ones"}) == (
        "zeros",
        "ones",
    )
    with pytest.raises(OptionError, match=r"unknown finding 'Edemma'.*Did you mean 'Edema'"):
        policies(("Edema", "Hernia"), "zeros", {"Edemma": "ones"})
    with pytest.raises(OptionError, match=r"policy for 'Edema' 'one'.*Did you mean 'ones'"):
        policies(("Edema",), "zeros", {"Edema": "one"})
    with pytest.raises(OptionError, match=r"'zero'.*Did you mean 'zeros'"):
        policies(("Edema",), "zero")


def test_what_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown value of unstated 'maybe'"):
        apply_policy(LABELS, "ones", "maybe")
    with pytest.raises(OptionError, match="unknown policy"):
        apply_policy(LABELS, "twos")
    with pytest.raises(ValueError, match=r"\[N, F\]"):
        apply_policy(LABELS[0], "ones")
    with pytest.raises(ValueError, match="1, 0, -1 or NaN, got 2"):
        scored(LABELS * 2)
    with pytest.raises(ValueError, match="argument"):
        apply_policy(LABELS, ("ones",))


def test_the_defaults_are_policies_that_exist() -> None:
    options = LabelOptions()
    assert options.uncertain in POLICIES
    apply_policy(LABELS, options.uncertain, options.unstated)
