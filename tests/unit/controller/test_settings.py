"""Settings: file, then environment, then flags; a wrong one is named, with where it came from."""

from pathlib import Path

import pytest

from controller.settings import DEFAULT_ROOT, Settings, load
from resources.errors import InvalidArgument


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("resyncSeconds: 5\nworkers: 3\nlogFormat: json\n")
    found = load(
        tmp_path,
        tmp_path / "run",
        {"LADING_WORKERS": "4", "LADING_TEST_OWNER": "x"},
        {"runtime": "runc", "workers": None},
    )
    assert (found.resync_seconds, found.workers, found.log_format, found.runtime) == (5, 4, "json", "runc")


def test_an_absent_file_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, tmp_path, {}, {}).workers >= 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("wrokers: 3", "wrokers"),
        ("workers: many", "workers"),
        ("workers: 0", "workers"),
        ("runtime: kata", "runtime"),
        ("root: /tmp", "root"),
        ("- a", "map"),
        ("a: [", "YAML"),
    ],
)
def test_a_wrong_one_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InvalidArgument, match=named) as caught:
        load(tmp_path, tmp_path, {}, {})
    assert "settings.yaml" in str(caught.value)


def test_engines_on_other_roots_have_names_of_their_own() -> None:
    names = {Settings(root=Path(root)).instance for root in (DEFAULT_ROOT, "/srv/a", "/srv/b")}
    assert len(names) == 3
    assert Settings().instance == "lading"
