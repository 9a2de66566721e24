import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.lazy_pairs import N, pair_of, same_answer, same_value
from tests.releases import PANDAS
from zarrds.labels.sorted.lazy_index import LazyDatetimeIndex

TIMES = [
    "2000",
    "2000-01",
    "2000-02-30",
    "2000-01-03",
    "2000-01-02 09",
    "2000-01-02 18:00",
    "2000-01-02T18:00:01",
    "1999",
    "2031",
    "x",
    "2000Q1",
    "2000-01-03 00:00+00:00",
]


def positions(index, text):
    try:
        return np.arange(len(index))[index.get_loc(text)].tolist()
    except KeyError:
        return []


# pandas 2 tells positions of decreasing times, and no error where there are none
LOCATED = (
    [lambda index, text: index.get_loc(text), lambda index, text: text in index] if PANDAS >= (3,) else [positions]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_strings_mean_the_same_times(data):
    unit = data.draw(st.sampled_from(["s", "ns"]))
    hours = sorted(data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=20)), reverse=data.draw(st.booleans()))
    if data.draw(st.booleans()):  # whole days only
        hours = [hour * 24 for hour in hours]
    labels = np.datetime64("2000-01-01", unit) + np.array(hours, "m8[h]")
    lazy, plain = pair_of(labels.astype(f"M8[{unit}]"))
    assert isinstance(lazy, LazyDatetimeIndex)
    text, other = (data.draw(st.one_of(st.none(), st.sampled_from(TIMES))) for _ in range(2))
    step = data.draw(st.sampled_from([None, -1]))
    for function in [
        *(lambda index, located=located: located(index, text) for located in LOCATED),
        lambda index: index.get_slice_bound(text, "right"),
        lambda index: index.slice_indexer(text, other, step),
        lambda index: index.get_indexer([text]),
        lambda index: index.resolution,
    ]:
        same_answer(function, lazy.view(), plain)


def test_times_are_a_datetime_index():
    lazy, plain = pair_of((np.datetime64("2000-01-01", "ns") + np.arange(N) * np.timedelta64(1, "h")).astype("M8[ns]"))
    lazy._window.at_least = 65_536
    source = lazy._window.source
    assert isinstance(lazy, pd.DatetimeIndex)
    assert (lazy.freq, lazy.freqstr, lazy.tz, lazy.unit) == (plain.freq, plain.freqstr, plain.tz, plain.unit)
    assert lazy.get_loc("2003-03") == plain.get_loc("2003-03")
    assert lazy.slice_indexer("2003-03", "2003-04-02") == plain.slice_indexer("2003-03", "2003-04-02")
    assert lazy.get_loc("2003-03-04") == plain.get_loc("2003-03-04")
    assert "2003-03-04" in lazy
    assert repr(lazy).replace("LazyDatetimeIndex", "DatetimeIndex").split() == repr(plain).split()
    assert source.given < 300
    for name in ["year", "day_of_year", "date", "is_leap_year", "asi8"]:
        same_value(getattr(lazy, name), getattr(plain, name))
    same_value(lazy.indexer_at_time("03:00"), plain.indexer_at_time("03:00"))
    same_value(
        [lazy.floor("D"), lazy.tz_localize("UTC"), lazy.to_period("M")],
        [plain.floor("D"), plain.tz_localize("UTC"), plain.to_period("M")],
    )
    assert source.reads[-1] == (0, N)
