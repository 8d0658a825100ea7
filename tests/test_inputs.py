"""What an experiment was begun with, beside what is asked for."""

from asynctune.inputs import differences


def test_only_what_differs_is_told_by_its_dotted_name():
    found = {"method": "RS", "space": {"x": {"lower": 0, "upper": 1}, "k": 3}, "points": [1]}
    assert differences(found, found) == ""
    wanted = {"method": "BO", "space": {"x": {"lower": 0, "upper": 2}, "y": {"lower": 4}}}
    assert differences(found, wanted | {"points": [1]}) == (
        "its method is RS, not BO, its space.x.upper is 1, not 2, "
        "its space.y is None, not {'lower': 4}, its space.k is 3, not None"
    )


def test_what_is_quite_another_thing_is_not_told_at_length():
    found, wanted = dict.fromkeys(range(9), 1), dict.fromkeys(range(9), 2)
    assert differences(found, wanted).endswith("its 5 is 1, not 2, and 3 more differ")
