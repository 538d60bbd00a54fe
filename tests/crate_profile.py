"""Whether ro-crate-metadata.json follows the profile of a Provenance Run Crate.

roc-validator checks it without a network. Its context, two addresses, is replaced by the terms that
rocrate ships, which are those of a later RO-Crate.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

PROFILE = "provenance-run-crate"
RUN_TERMS = {"resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage"}


def problems(metadata: dict) -> list[str]:
    """What the profile requires and the metadata lacks: a line each, of entity and property.

    Takes about 8 s, and 25 ms for each entity.
    """
    from rocrate_validator import models, services

    with tempfile.TemporaryDirectory() as cache:
        result = services.validate(
            services.ValidationSettings(
                rocrate_uri=None,
                metadata_dict=metadata | {"@context": _terms()},
                metadata_only=True,  # that files are there is checked by `lra verify`
                profile_identifier=PROFILE,
                requirement_severity=models.Severity.REQUIRED,
                offline=True,
                cache_path=Path(cache, "http"),
            )
        )
    return sorted(
        ": ".join(filter(None, [
            (issue.violatingEntity or "").removeprefix("./"),
            (issue.violatingProperty or "").rpartition("/")[2],
            " ".join(issue.message.split()),
        ]))
        for issue in result.get_issues()
    )  # fmt: skip


def _terms() -> dict[str, str]:
    """The terms of RO-Crate 1.1 and of its extension for runs."""
    import rocrate

    file = Path(rocrate.__file__).with_name("data") / "ro-crate.jsonld"
    # RO-Crate 1.1 has the terms of Bioschemas at an older address
    text = file.read_text().replace("bioschemas.org/terms/", "bioschemas.org/")
    return json.loads(text)["@context"] | RUN_TERMS
