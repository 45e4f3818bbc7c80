"""The texts that canaries rank, unless the operator names a file: three questions, each with an answer among others."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationInfo

from gateway.settings import Settings, folder_of, in_folder, note_file

MAX_FILE_BYTES = 1 << 20
"""Of an operator's file: a canary is meant to be cheap."""


class CanaryList(Settings):
    """One query and the documents that are scored by it."""

    query: str = Field(min_length=1, description="The query.")
    documents: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=2, max_length=100, description="The documents; the order does not matter."
    )


BUILT_IN = [
    {
        "query": "How do I reset a forgotten password?",
        "documents": [
            "Choose 'Forgot password' on the sign-in page; a link to set a new one is sent to your address.",
            "Passwords are stored as salted hashes and are never sent by mail.",
            "The office is closed on public holidays.",
            "To change your display name, open the profile page.",
        ],
    },
    {
        "query": "What makes bread rise?",
        "documents": [
            "Yeast ferments sugar into carbon dioxide, whose bubbles lift the dough.",
            "Rye flour makes a darker, denser loaf than wheat flour.",
            "Trains to the coast leave every hour.",
            "An oven stone keeps the heat under the crust.",
        ],
    },
    {
        "query": "maximum working pressure of the pump",
        "documents": [
            "The pump must not be operated above 16 bar.",
            "The pump is delivered with two flanges and a gasket.",
            "Maximale Betriebstemperatur: 80 °C.",
            "Pressure sensors are calibrated once a year.",
        ],
    },
]


def _from_file(value: Any, info: ValidationInfo) -> Any:
    """The lists in the file of that name; lists as they are. Raises ValueError for a file that cannot be used."""
    if not isinstance(value, str):
        return value
    name = in_folder(value, folder_of(info))
    note_file(name, info)
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ValueError(f"{value} is larger than {MAX_FILE_BYTES} bytes")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML in UTF-8"
        raise ValueError(f"{value} cannot be read: {reason}") from None


CanaryTexts = Annotated[
    list[CanaryList],
    Field(min_length=1, max_length=100),
    BeforeValidator(_from_file, json_schema_input_type=str | list[CanaryList]),
]
"""Lists to rank, or the name of a YAML file with them, relative to the configuration's."""
