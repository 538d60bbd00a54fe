"""What changes a fingerprint and what does not."""

from __future__ import annotations

import re
import shutil

import pytest

from lra import attention
from lra.report import registry
from lra.results.fingerprint import STAGES, fingerprint, modules
from tiny import ROOT

TRAIN_LINEAR = (STAGES["train"], "lra.attention.linear")


@pytest.fixture
def source(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    return tmp_path / "src"


def add_code(source, module):
    file = source / f"lra/{module}.py"
    file.write_text(file.read_text() + "\nNEW = 1\n")


def test_a_training_reads_its_own_mechanism_and_no_other():
    read = modules(*TRAIN_LINEAR)
    expected = {"lra.training.loop", "lra.models.classifier", "lra.training.batches"}
    assert expected | {"lra.attention.base"} <= set(read)
    others = {f"lra.attention.{name}" for name in attention.names()} - {"lra.attention.linear"}
    assert not others & set(read)


@pytest.mark.parametrize(
    "package", ["report", "compare", "archive", "planning", "evaluation", "results", "cli"]
)
def test_a_training_does_not_read_later_stages(package):
    assert not [name for name in modules(*TRAIN_LINEAR) if name.startswith(f"lra.{package}")]


def test_comments_docstrings_and_formatting_change_nothing(source):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file = source / "lra/attention/linear.py"
    text = re.sub('^"""[^\n]*', '"""Another docstring."""', file.read_text(), count=1)
    text = text.replace("EPS = 1e-6", "EPS  =  1e-6  # another comment\n\n")
    file.write_text("# a comment\n" + text)
    assert fingerprint(*TRAIN_LINEAR, source=source) == before


@pytest.mark.parametrize(
    "module",
    ["attention/linear", "models/classifier", "attention/base", "data/split", "training/__init__"],
)
def test_a_change_of_code_anywhere_below_changes_it(source, module):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    add_code(source, module)
    assert fingerprint(*TRAIN_LINEAR, source=source) != before


@pytest.mark.parametrize(
    "module", ["attention/local", "report/registry", "results/records", "config/resolve"]
)
def test_a_change_elsewhere_does_not(source, module):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    add_code(source, module)
    assert fingerprint(*TRAIN_LINEAR, source=source) == before


def test_text_that_is_not_a_docstring_counts(source):
    file = source / "lra/attention/linear.py"
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file.write_text(file.read_text().replace('INFO = Info("kernel"', 'INFO = Info("low rank"'))
    assert fingerprint(*TRAIN_LINEAR, source=source) != before


def test_moving_a_file_changes_nothing(source):
    """Also where its name in its importers stays, and their imports are sorted anew."""
    before = fingerprint(*TRAIN_LINEAR, source=source)
    (source / "lra/weights").mkdir()
    (source / "lra/weights/__init__.py").write_text('"""Nothing."""\n')
    (source / "lra/models/pooling.py").rename(source / "lra/weights/pooling.py")
    importer = source / "lra/models/classifier.py"
    line = "from lra.models.pooling import PMA\n"
    text = importer.read_text()
    assert line in text
    text = text.replace(line, "").replace(
        "import torch\n", "import torch\nfrom lra.weights.pooling import PMA\n", 1
    )
    importer.write_text(text)
    assert fingerprint(*TRAIN_LINEAR, source=source) == before
    add_code(source, "weights/pooling")
    assert fingerprint(*TRAIN_LINEAR, source=source) != before


def test_importing_another_name_or_the_same_name_of_another_module_counts(source):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file = source / "lra/models/classifier.py"
    line = "from lra.models.pooling import PMA"
    text = file.read_text()
    file.write_text(text.replace(line, "from lra.models.pooling import relu as PMA"))
    other_name = fingerprint(*TRAIN_LINEAR, source=source)
    file.write_text(text.replace(line, "from lra.attention.shared.mab import MAB as PMA"))
    other_module = fingerprint(*TRAIN_LINEAR, source=source)
    assert len({before, other_name, other_module}) == 3


def test_a_circle_is_named(source):
    file = source / "lra/core/errors.py"
    file.write_text(file.read_text() + "\nfrom lra.core.files import write_beside\n")
    with pytest.raises(ValueError, match=r"import each other: .*errors -> .*files -> .*errors"):
        fingerprint("lra.core.errors", source=source)


def test_script_and_style_count_with_the_pages_that_hold_them(source):
    roots = {
        "table": (STAGES["table"], "lra.report.tables.accuracy"),
        "figure": (STAGES["figure"], "lra.report.figures.ranks"),
    }
    before = {name: fingerprint(*each, source=source) for name, each in roots.items()}
    file = source / "lra/report/html/tables.js"
    file.write_text(file.read_text() + "// more\n")
    after = {name: fingerprint(*each, source=source) for name, each in roots.items()}
    assert before["table"] != after["table"]
    assert before["figure"] == after["figure"]


def test_editing_the_module_of_one_figure_redraws_it_alone(source):
    def codes():
        root = STAGES["figure"]
        return {
            item.name: fingerprint(root, f"lra.report.{item.module}", source=source)
            for item in registry.FIGURES
        }

    before = codes()
    add_code(source, "report/figures/ranks")
    after = codes()
    assert [name for name in before if before[name] != after[name]] == ["ranks"]


def test_no_module_of_the_project_imports_another_in_a_circle():
    paths = [path.relative_to(ROOT / "src") for path in (ROOT / "src/lra").rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    assert len(fingerprint(*names)) == 16


def test_tokens_have_code_of_their_own_which_no_training_on_labels_reads():
    own = {"lra.training.tokens", "lra.evaluation.tokens", "lra.evaluation.floors"}
    for stage in ("train", "evaluate", "baseline"):
        assert not own & set(modules(STAGES[stage]))
    assert "lra.training.tokens" in modules(STAGES["evaluate_tokens"])
