"""Hydra's errors as a sentence, without what Hydra says of itself."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException

from diffect.config.files import config_folder
from diffect.errors import sentence

CONF = config_folder("train")


@pytest.mark.parametrize(("wrong", "hint"), [("nosuch", "; There"), ("padin", "; did you mean padim? There")])
def test_a_wrong_choice_names_the_choices_and_nothing_else(wrong: str, hint: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(MissingConfigException) as caught:
        compose("train", [f"detector={wrong}"])
    choices = ", ".join(sorted(path.stem for path in (CONF / "detector").glob("*.yaml")))
    assert sentence(caught.value) == f"there is no detector={wrong}{hint} are: {choices}"
