"""Code blocks of README and docs run as printed; names and numbers there are those of the code."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import naive
import pytest
from documents import DOCS, PAGES, blocks, shrunk
from folders import ROOT, examples

import baselines
from baselines import REGISTRY
from rrm_env import RRMConfig, __version__, kernels, metrics

SHRINK = (
    (
        r"(--env mpe2.*)--updates \d+",
        r"\1--updates 20 --envs-per-seed 4 --learning-starts 256 --evaluation-episodes 2",
    ),
    (r"--updates \d\d\d+", "--updates 20 --evaluation-episodes 2"),
    (r"--transitions \d+", "--transitions 400"),
    (r"--episodes \d+", "--episodes 4"),
    (r"--steps \d+", "--steps 404"),
    (r"(own_(ippo|offline)\.py)", r"\1 --updates 2 --episodes 2"),
    (r"(python -m baselines)(?!.*(--(episodes|watch|submission)| check ))", r"\1 --episodes 4"),
    (
        r"(python -m marl sweep (\S+\.toml))",
        r"sed -i -E 's/^updates = .*/updates = 20/; s/_000//g; s/128/4/; s/32/2/' \2 && \1",
    ),
    (r"(python -m marl graph .*)", r"\1 --updates 20 --episodes 64"),
    (r"(python examples/quickstart\.py)", r"\1 --updates 20 --transitions 400 --episodes 4"),
)
"""What makes the bash blocks run in seconds: sizes become smaller, nothing else changes."""

IN_CI = ".ci/run runs it"
LEFT_OUT = (
    (
        r"\bpip install\b|^git clone\b|^cd\b|-m venv\b|^\. ",
        "it would change the environment that the tests run in",
    ),
    (r"^pytest\b|tests/golden\.py", "it is this suite"),
    (r"--watch(?!.*--video)", "it opens a window"),
    (
        r"examples/benchmarks/performance\.py",
        "it takes ten minutes and needs its peers; its miniature is tested",
    ),
    (
        r"(tests/reliability/|examples/benchmarks/(large_networks|schedulers|searches)|examples/paper/(ladder|benchmark))(?!.*--quick)",
        "it takes minutes; its miniature is tested",
    ),
    (r"^ruff\b|^mypy\b|^sphinx-build\b|^python -m build\b", IN_CI),
    (
        r"examples/paper/(figure_\d|sensitivity|claims_map|past_the_paper|information_limit|channels)\.py",
        IN_CI,
    ),
)
"""Commands that are left out of the bash blocks, and why."""


NEEDS = (
    (r"from marl|-m marl|examples/", "torch"),
    (r"mpe2", "mpe2"),
    (r"_minari|--minari", "minari"),
    (r"render|\brecord\b|--watch|--video", "pygame"),
    (r"--video|\brecord\b", "imageio"),
)
"""What a block or command needs beyond the core; without it the block is left out."""

GOES_FIRST = {"rendering": "README"}
"""Pages whose bash blocks use a run that another page's train."""


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(block: str) -> Iterator[str]:
    """The commands of a bash block, one after the other."""
    for line in block.splitlines():
        yield from (command.strip() for command in line.split(" && "))


def reason_to_leave_out(command: str) -> str | None:
    return next(
        (reason for pattern, reason in LEFT_OUT if re.search(pattern, command)), missing(command)
    )


def missing(code: str) -> str | None:
    """Which package is missing that the code needs, as a reason to leave it out."""
    return next(
        (
            f"it needs {name}, which is not installed"
            for pattern, name in NEEDS
            if re.search(pattern, code) and not find_spec(name)
        ),
        None,
    )


PYTHON_BLOCKS = [(page, block) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(
    ("page", "block"),
    PYTHON_BLOCKS,
    ids=[f"{page.stem}-{block.split(chr(10))[0]}" for page, block in PYTHON_BLOCKS],
)
def test_python_block_of_the_documents_runs(page: Path, block: str, tmp_path: Path) -> None:
    if reason := missing(block):
        pytest.skip(reason)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"\d", result.stdout)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "bash")], ids=lambda page: page.stem
)
@pytest.mark.skipif(sys.platform == "win32", reason="an interpreter of their own is a shell script")
def test_bash_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    """Run in a folder that looks like the repository; later blocks find files of earlier ones."""
    own = [command for block in blocks(page, "bash") for command in commands(block)]
    before = (
        [
            command
            for block in blocks(ROOT / f"{GOES_FIRST[page.stem]}.md", "bash")
            for command in commands(block)
        ]
        if page.stem in GOES_FIRST
        else []
    )
    left_out = {
        command: reason for command in before + own if (reason := reason_to_leave_out(command))
    }
    if set(own) <= set(left_out):
        pytest.skip("; ".join(f"{command}: {reason}" for command, reason in left_out.items()))
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    interpreter = tmp_path / "bin" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    path = os.pathsep.join(str(part) for part in (ROOT, os.environ.get("PYTHONPATH")) if part)
    environment = {
        **os.environ,
        "PATH": f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": path,
    }
    for command in [
        command for command in before if re.search(r"marl (collect|train)", command)
    ] + own:
        if command in left_out:
            continue
        command = shrunk(command, SHRINK)
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert result.returncode == 0, (
            f"{command}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
        )


def test_commands_left_to_ci_are_there() -> None:
    every = [
        command for page in PAGES for block in blocks(page, "bash") for command in commands(block)
    ]
    left_to_ci = [command for command in every if reason_to_leave_out(command) == IN_CI]
    assert left_to_ci
    ci = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / ".ci").iterdir() if path.is_file()
    )
    for command in left_to_ci:
        script = re.search(r"examples/(?:\w+/)?(\w+)\.py", command)
        assert (script[1] if script else command.split()[0].removeprefix("python -m ")) in ci, (
            command
        )


def test_no_block_escapes_the_tests() -> None:
    """Code in another language would never run; tests of the how-to pages apply the diffs."""
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        for opening in fences[::2]:
            assert (
                opening in ("python", "bash", "text", "bibtex")
                or opening.startswith("{")
                or (opening == "diff" and "development" in page.parts)
            ), page


def test_readme_has_an_environment_example_and_a_scheduler_example() -> None:
    in_readme = blocks(ROOT / "README.md", "python")
    assert any("parallel_env(" in block for block in in_readme)
    assert any("evaluate(" in block for block in in_readme)


def test_folder_table_names_every_top_level_folder() -> None:
    named = set(
        re.findall(r"^\| `(\w+)` ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    packaged = {path.parent.name for path in ROOT.glob("[!.]*/*.py")}  # tools have hidden folders
    assert packaged <= named
    assert all((ROOT / folder).is_dir() for folder in named)


def test_tables_in_the_docs_are_those_of_the_committed_results() -> None:
    if reason := missing("from marl"):
        pytest.skip(reason)
    with examples():
        import tables
    for name, page in tables.PAGES.items():
        assert text_of(name) == page(DOCS / "results")


def test_tables_of_results_have_the_score_beside_the_name_of_the_row() -> None:
    """Readers of narrow screens see it first; tables of scores alone have no such column."""
    tables = [
        match
        for page in PAGES
        for match in re.findall(r"((?:^\|.*\n)+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    headings = [
        [cell.strip() for cell in table.partition("\n")[0].split("|")[1:-1]]
        for table in tables
        if "…" in table
    ]
    with_score = [heading for heading in headings if "score" in heading[1:]]
    assert len(with_score) >= 8
    assert all(heading[1] == "score" for heading in with_score), with_score


def functions_of(path: Path) -> set[str]:
    """Names of a file's public functions."""
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    } - {"main"}


def named_on(page: str, module: str) -> set[str]:
    return set(re.findall(rf"`{module}\.(\w+)`", text_of(page)))


def test_physics_names_every_kernel_and_twin() -> None:
    public = {
        name for name in functions_of(ROOT / "rrm_env" / "kernels.py") if not name.startswith("_")
    }
    assert named_on("physics.md", "kernels") == public
    assert all(hasattr(kernels, name) for name in public)
    twins = functions_of(ROOT / "tests" / "naive.py")
    assert named_on("physics.md", "naive") | named_on("baselines.md", "naive") == twins
    assert all(hasattr(naive, name) for name in twins)
    of_observations = functions_of(ROOT / "tests" / "naive_observations.py")
    assert named_on("physics.md", "naive_observations") == of_observations
    of_propagation = functions_of(ROOT / "tests" / "naive_propagation.py")
    assert named_on("physics.md", "naive_propagation") == of_propagation
    for module in ("propagation", "deployment"):
        functions = functions_of(ROOT / "rrm_env" / f"{module}.py")
        public = {name for name in functions if not name.startswith("_")}
        assert named_on("physics.md", module) == public
    of_schedulers = {
        name
        for name in functions_of(ROOT / "tests" / "naive_schedulers.py")
        if not name.startswith("_")
    }
    assert named_on("baselines.md", "naive_schedulers") == of_schedulers
    assert {*metrics.KPIS, "pooled_tail_rate", "KPIS"} == {
        name for name in named_on("physics.md", "metrics") if hasattr(metrics, name)
    }


def cited(text: str) -> set[int]:
    """Numbers of equations that a text cites, as in "Eq. 4", "Eqs. 18, 20 and 22", "Eqs. 26-28"."""
    numbers: set[int] = set()
    for listed in re.findall(r"\bEqs?\. (\d+(?:(?:, | and |-)\d+)*)", text):
        for part in re.split(", | and ", listed):
            first, _, last = part.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def citations(path: Path) -> set[tuple[int, str]]:
    """(equation, function or class) of docstrings at a module's top level that cite equations."""
    return {
        (number, node.name)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for number in cited(ast.get_docstring(node) or "")
    }


def equation_rows() -> dict[int, str]:
    """The row of the index of the paper for each equation."""
    rows: dict[int, str] = {}
    for numbers, row in re.findall(
        r"^\| (\d[\d, -]*) \|(.*)$", text_of("paper_index.md"), re.MULTILINE
    ):
        for number in cited(f"Eqs. {numbers}"):
            assert number not in rows, f"two rows for Eq. {number}"
            rows[number] = row
    return rows


def test_index_of_the_paper_has_every_equation_table_figure_and_algorithm() -> None:
    text = text_of("paper_index.md")
    assert set(equation_rows()) == set(range(1, 29))
    for kind, numbers in (
        ("Table", ("I", "II", "III")),
        ("Figure", "1234567"),
        ("Algorithm", "123"),
    ):
        named = " ".join(re.findall(rf"^\| {kind}s? ([^|]+) \|", text, re.MULTILINE))
        assert set(re.findall(r"\w+", named)) - {"to", "and"} == set(numbers), kind


@pytest.mark.parametrize(
    "path",
    [
        "rrm_env/kernels.py",
        "rrm_env/metrics.py",
        "marl/learner/losses.py",
        *(f"baselines/{path.name}" for path in sorted((ROOT / "baselines").glob("*.py"))),
    ],
)
def test_docstrings_cite_the_equations_that_the_index_of_the_paper_gives_them(path: str) -> None:
    module = "baselines" if path.startswith("baselines") else Path(path).stem
    found = {(number, f"{module}.{name}") for number, name in citations(ROOT / path)}
    names = {
        f"{module}.{node.name}"
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if hasattr(node, "name")
    }
    indexed = {
        (number, name)
        for number, row in equation_rows().items()
        for name in re.findall(r"`((?:kernels|metrics|losses|baselines)\.\w+)`", row)
        if name in names
    }
    assert found == indexed


def test_physics_names_every_field_and_states_the_defaults_of_its_table() -> None:
    text = text_of("physics.md")
    for item in fields(RRMConfig):
        assert f"`{item.name}`" in text or f"`{item.name}=" in text, item.name
    for names, values in re.findall(r"^\| .* \| (`[^|]+`) \| ([^|]+) \|$", text, re.MULTILINE):
        for name, value in zip(re.findall(r"`(\w+)`", names), values.split(", "), strict=True):
            default = getattr(RRMConfig(), name)
            assert value.strip() == "$1/J$" if default is None else float(value) == default, name


def test_the_page_on_baselines_has_every_scheduler_with_its_committed_numbers() -> None:
    text = text_of("baselines.md")
    rows = re.findall(r"^\| `(\S+)` \| (\S+ \(\S+\)) \| (.+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert {row[0].partition(":")[0] for row in rows} == set(REGISTRY)
    paper = json.loads(text_of("results/schedulers.json"))["paper"]["schedulers"]
    measured = {row["scheduler"]: row for row in paper}
    for name, score, others, _ in rows:
        row = measured[name]
        assert score == "{mean:.3f} ({low:.3f}…{high:.3f})".format(**row["score"]), name
        assert others.split(" | ") == [
            f"{100 * row['score_share']['mean']:.0f} %",
            f"{row['sum_rate']['mean']:.2f}",
            f"{row['tail_rate']['mean']:.3f}",
            f"{row['worst_rate']['mean']:.3f}",
        ], name
    described = " ".join(re.findall(r"^## (.+)$", text, re.MULTILINE)).lower().replace("-", " ")
    for name in REGISTRY:
        assert name.replace("_", " ") in described


@pytest.mark.parametrize("package", ["rrm_env", "baselines", "baselines.optimum", "marl"])
def test_api_reference_lists_what_a_package_exports(package: str) -> None:
    """There, or on the page that is about it."""
    pages = "".join(text_of(name) for name in ("reference/api.md", "learners.md", "gymnasium.md"))
    pattern = rf"^\.\. (?:auto\w+|py:data):: {re.escape(package)}\.((?:\w+\.)*)(\w+)$"
    listed = [
        name
        for modules, name in re.findall(pattern, pages, re.MULTILINE)
        if (package, modules) != ("baselines", "optimum.")  # a package of its own
    ]
    assert len(listed) == len(set(listed))
    folder = ROOT.joinpath(*package.split("."))
    (exported,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__all__"
    )
    assert set(listed) == set(exported) - {"rrm_v0"}
    assert "`rrm_env.rrm_v0`" in pages
    if package == "baselines":
        assert all(hasattr(baselines, name) for name in listed)


def test_citation_and_changelog_are_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert "2501.12991" in citation
    assert re.search(
        rf"^## .*{re.escape(__version__)}",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )


def test_issue_templates_and_hooks_are_yaml_and_the_command_they_ask_for_runs() -> None:
    yaml = pytest.importorskip("yaml")
    templates = {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
    }
    templates.pop("config.yml")
    assert len(templates) >= 3
    for name, template in templates.items():
        assert {"name", "description", "body"} <= set(template), name
        assert all(
            item["type"] == "textarea" and item["attributes"]["label"] for item in template["body"]
        ), name
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [hook["id"] for repository in hooks for hook in repository["hooks"]] == [
        "ruff",
        "ruff-format",
        "mypy",
    ]
    facts = next(item for item in templates["bug_report.yml"]["body"] if item["id"] == "facts")[
        "attributes"
    ]["description"]
    (command,) = re.findall(r'`python -c "(.+?)"`', facts)
    result = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    assert __version__ in result.stdout


def test_install_hints_name_extras_and_work_before_a_release() -> None:
    """Hints install from a checkout: before a release `pip install rrm-env` finds nothing."""
    code = [
        path
        for folder in ("rrm_env", "baselines", "marl", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    extras = set(
        re.findall(
            r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    hinted = set()
    for path in (*PAGES, *code):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install\s+\S*rrm-env", text), path
        hinted |= {
            extra
            for listed in re.findall(r'pip\s+install -e "\.\[([\w,-]+)\]"', text)
            for extra in listed.split(",")
        }
        hinted |= set(re.findall(r"install_hint\('([\w-]+)'\)", text))
    assert {"render", "ray", "sb3", "minari", "plot", "marl", "bench"} <= hinted <= extras
