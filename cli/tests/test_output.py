"""What a person reads of an answer."""

from tonglu.output import Output, show, show_one


def test_one_thing_is_read_line_by_line_without_the_words_of_a_program(capsys) -> None:
    show_one(
        {
            "tenant": "flowable",
            "error": None,
            "degraded": False,
            "capabilities": {"burst": 50, "sights": ["push", "poll_one"]},
            "templates": [{"name": "claim", "why": None}],
            "detail": "a field [cost] is gone",
        },
        Output.TABLE,
    )
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "tenant flowable",
        "error —",
        "degraded no",
        "capabilities",
        "burst 50",
        "sights push, poll_one",
        "templates name=claim, why=—",
        "detail a field [cost] is gone",
    ]


def test_a_name_in_two_languages_is_one_cell(capsys) -> None:
    show([{"id": "travel", "name": {"zh": "差旅", "en": "Travel"}, "until": None}], Output.TABLE)
    assert "差旅 Travel" in capsys.readouterr().out
