"""The Lua functions agree with Python: arguments, keys, names, walls."""

import re
from pathlib import Path

import pytest

from shared.store import functions, keys, operations
from tests.deploy.compose import ROOT

LUA = ROOT / "shared" / "lua"
FILES = sorted(LUA.rglob("*.lua"))
MODULES = {path.stem: path.read_text() for path in (LUA / "lib").glob("*.lua")}
OPERATIONS = {path.stem: path.read_text() for path in (LUA / "operations").glob("*.lua")}


def code(text: str) -> str:
    """Return what is not a comment."""
    return re.sub(r"--.*", "", text)


def test_each_operation_has_its_arguments_declared_and_reads_all_of_them() -> None:
    declared = {one.script: set(one.names) for one in operations.all_operations()}
    assert declared.keys() == OPERATIONS.keys()
    audited = {"dedup_token", "by", "request_id"}
    for name, text in OPERATIONS.items():
        read = set(re.findall(r"\bargs\.(\w+)", code(text)))
        if re.search(r"audit\.record\(\s*args", text):  # which reads these for it
            read |= audited
        if "jobs_create.create(args" in text:  # which reads the job out of them
            create = MODULES["jobs_create"]
            (copied,) = re.findall(r"COPIED = \{(.*?)\}", create, re.DOTALL)
            read |= {*re.findall(r"\bnew\.(\w+)", create), *re.findall(r"'(\w+)'", copied)}
        assert read == declared[name], name


def test_each_operation_has_a_function_of_its_name_in_python() -> None:
    source = "".join(path.read_text() for path in (ROOT / "shared" / "store").glob("*.py"))
    named = set(re.findall(r"^def (\w+)\(", source, re.MULTILINE))
    assert OPERATIONS.keys() <= named


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_file_uses_of_a_module_is_there(path: Path) -> None:
    text = code(path.read_text())
    for module in functions.required(path.read_text()):
        used = set(re.findall(rf"(?<![\w.']){module}\.(\w+)", text))
        assert used, f"{path.name} requires {module} and does not use it"
        if module in MODULES:
            given = re.findall(r"^(?:function )?M\.(\w+)", MODULES[module], re.MULTILINE)
            several = re.findall(r"^M\.\w+, M\.(\w+)", MODULES[module], re.MULTILINE)
            assert used <= {*given, *several}, (
                f"{path.name}: {module} has no {used - {*given, *several}}"
            )
        elif module == "keys":
            assert used <= {name for name, _ in keys.all_keys()}


def test_no_key_is_spelled_in_lua() -> None:
    assert [path.name for path in FILES if keys.PREFIX in path.read_text()] == []


def test_each_key_is_used() -> None:
    source = "".join(path.read_text() for path in [*FILES, *ROOT.glob("[asw]*/**/*.py")])
    for name, _ in keys.all_keys():
        assert re.search(rf"\bkeys\.{name}\b", source), name


def test_what_a_module_offers_is_used_outside_of_it() -> None:
    for name, text in MODULES.items():
        rest = "".join(code(path.read_text()) for path in FILES if path.stem != name)
        rest += "util.slice"  # which the loader calls
        for offered in re.findall(r"^(?:function )?M\.(\w+)", text, re.MULTILINE):
            assert re.search(rf"\b{name}\.{offered}\b", rest), f"{name}.{offered}"


def test_modules_that_require_each_other_are_refused() -> None:
    texts = {"a": "local b = ... -- requires\n", "b": "local a = ... -- requires\n"}
    with pytest.raises(ValueError, match=r"require each other: (a -> b -> a|b -> a -> b)"):
        functions.ordered_modules(texts)


def test_a_module_that_requires_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lib/a\.lua requires c, not found"):
        functions.ordered_modules({"a": "local c = ... -- requires\n"})


def test_a_module_comes_behind_what_it_requires() -> None:
    text = functions.ordered_modules({"a": "local b = ... -- requires\n", "b": "return {}"})
    assert text.index("local m_b = ") < text.index("local m_a = ")


def test_the_reference_of_keys_is_as_it_is_written() -> None:
    assert (ROOT / "docs" / "redis.md").read_text() == keys.reference()
