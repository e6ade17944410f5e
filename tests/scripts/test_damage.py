"""Damaged and forged files end in a sentence. Here a part of the variants is tried, with --nightly all of them."""

from pathlib import Path

import pytest

from scripts.benchmarks import damage


def test_what_is_done_with_damaged_stores_would_notice_what_is_wrong(tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    sound.write_text("sound")

    def use(path: Path) -> None:
        if path.read_text() != "sound":
            raise TypeError("unexpected")

    found = damage.try_variants(sound, tmp_path / "copies", 3, 0, damage.cut_file, {"use": use})
    assert (found.tried, found.refused) == (3, 0)
    assert [failure.endswith("use: TypeError: unexpected") for failure in found.failures] == [True] * 3
    with pytest.raises(TypeError):
        sound.write_text("damaged before")
        damage.try_variants(sound, tmp_path / "copies", 3, 0, damage.cut_file, {"use": use})


def test_damaged_stores_end_in_a_sentence(tmp_path: Path, nightly: bool) -> None:
    found = damage.fuzz_stores(tmp_path, 500 if nightly else 40)
    assert found.failures == []
    assert found.refused > found.tried / 3
