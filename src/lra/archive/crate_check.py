"""What the Provenance Run Crate profile demands of the metadata, as a table of checks.

The MUSTs of https://w3id.org/ro/wfrun/provenance/0.5 and of the profiles below it, as the shapes of
roc-validator have them, which wants the network to read a crate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lra.archive.crate import PROFILES

SPECIFICATION = "https://w3id.org/ro/crate/1.1"
RUNS = ("CreateAction", "ActivateAction", "UpdateAction")
TOOLS = ("SoftwareApplication", "SoftwareSourceCode", "ComputationalWorkflow")
# of every entity of a type: a property, the types that one of its values must have
POINTS = [
    ("ComputationalWorkflow", "hasPart", TOOLS),
    ("ComputationalWorkflow", "programmingLanguage", ("ComputerLanguage",)),
    ("ComputationalWorkflow", "step", ("HowToStep",)),
    ("HowToStep", "workExample", TOOLS),
    ("CreateAction", "instrument", TOOLS),
    ("ControlAction", "instrument", ("HowToStep",)),
    ("ControlAction", "object", RUNS),
    ("OrganizeAction", "instrument", TOOLS),
    ("OrganizeAction", "object", ("ControlAction",)),
    ("OrganizeAction", "result", RUNS),
]
# of every entity of a type: a property of entities of these types that must lead to it
POINTED = [
    ("HowToStep", "step", ("ComputationalWorkflow",)),
    ("CreateAction", "object", ("ControlAction", "OrganizeAction")),
]
HAS = [("CreateAction", "endTime"), ("PropertyValue", "propertyID"), ("CreateAction", "name")]
ROOT = ("name", "description", "datePublished", "license", "mainEntity", "conformsTo")


def problems(path: Path) -> list[str]:
    """What the metadata file misses, one line each; also files that it names and are not there."""
    try:
        return _missed(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"is no metadata of a crate ({error!r})"]


def _missed(path: Path) -> list[str]:
    graph = json.loads(path.read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    if not all(isinstance(name, str) for name in entities):
        raise TypeError("an @id is no text")
    root = entities["./"]
    found = [f"the crate has no {key}" for key in ROOT if key not in root]
    found += [f"conforms not to {url}" for url in PROFILES
              if url not in _links(root, "conformsTo")]  # fmt: skip
    if SPECIFICATION not in _links(entities[path.name], "conformsTo"):
        found.append(f"{path.name}: conforms not to {SPECIFICATION}")
    if _links(entities[path.name], "about") != ["./"]:
        found.append(f"{path.name}: is not about the crate")
    types = {name: _types(entity) for name, entity in entities.items()}
    main = _links(root, "mainEntity")
    if not main or not {"ComputationalWorkflow", "HowTo", "File"} <= types.get(main[0], set()):
        found.append("its main entity is no workflow with steps")
    for name, entity in entities.items():
        for kind, key, wanted in POINTS:
            linked = _links(entity, key)
            if kind in types[name] and not any(
                types.get(link, set()) & {*wanted} for link in linked
            ):
                found.append(f"{name}: {key} leads to no {' or '.join(wanted)}")
        for kind, key in HAS:
            if kind in types[name] and not entity.get(key):
                found.append(f"{name}: has no {key}")
        if "File" in types[name] and not (path.parent / name).is_file():
            found.append(f"{name}: is named and not there")
    for kind, key, sources in POINTED:
        led = {link for name, entity in entities.items() if types[name] & {*sources}
               for link in _links(entity, key)}  # fmt: skip
        led |= set(_links(root, "mentions"))
        found += [f"{name}: no {key} leads to it" for name in entities
                  if kind in types[name] and name not in led]  # fmt: skip
    broken = {
        link for entity in entities.values() for key in entity for link in _links(entity, key)
    }
    found += [f"{link}: is referred to and not described" for link in sorted(broken - {*entities})
              if not link.startswith("http")]  # fmt: skip
    return found


def _types(entity: dict[str, Any]) -> set[str]:
    kind = entity.get("@type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def _links(entity: dict[str, Any], key: str) -> list[str]:
    values = entity.get(key, [])
    values = values if isinstance(values, list) else [values]
    return [value["@id"] for value in values if isinstance(value, dict) and "@id" in value]
