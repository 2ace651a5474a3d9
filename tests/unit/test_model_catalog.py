"""Reading the model catalog: what files add, and one sentence for each mistake."""

import copy
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import InvalidSettings
from shared.model_catalog import (
    CHOSEN_SEED_MAX,
    DEFAULT_MODEL,
    SEED_MAX,
    BadCatalog,
    InputSchema,
    load_catalog,
)
from shared.settings import load_settings
from tests.support.models import CATALOG, KLEIN, KLEINS, OTHER_MODEL_FILE

OTHER = "acme/tile-painter"
ID_PATTERN = r"must match the pattern ^\w[\w.-]*(/\w[\w.-]*)?$"
Change = Callable[[dict[str, Any]], object]


def definition() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(OTHER_MODEL_FILE.read_text())
    return copy.deepcopy(content["models"][0])


def written(folder: Path, *definitions: object) -> Path:
    file = folder / "models.yaml"
    file.write_text(yaml.safe_dump({"models": list(definitions)}, sort_keys=False))
    return file


def sentences(file: Path) -> list[str]:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(models_file=str(file))
    return str(raised.value).splitlines()


def parameter(name: str, **changes: object) -> Change:
    return lambda one: one["input"]["properties"][name].update(changes)


def seed(**schema: object) -> Change:
    """Let a parameter with this schema be the seed."""

    def change(one: dict[str, Any]) -> None:
        one["input"]["properties"]["number"] = {"type": "integer", **schema}
        one["seed"] = "number"

    return change


GAPS = (
    "must name a parameter that accepts every integer from its minimum to its maximum, and number "
    "does not"
)
#: What is wrong with a definition, the member at fault, and the sentence about it.
MISTAKES: dict[str, tuple[Change, str, str]] = {
    "no id": (lambda one: one.pop("id"), "id", "is required"),
    "a blank in the id": (lambda one: one.update(id="a b"), "id", ID_PATTERN),
    "a misspelt member": (
        lambda one: one.update(sead="x"),
        "sead",
        "is unknown; did you mean seed?",
    ),
    "no description": (
        lambda one: one.update(description=""),
        "description",
        "must not be empty",
    ),
    "another source": (
        lambda one: one.update(source="guessed"),
        "source",
        "must be one of: specified, documented",
    ),
    "no JSON Schema": (
        parameter("strokes", type="whole"),
        "input",
        (
            "must be a JSON Schema (draft 2020-12): properties.strokes.type is not valid: "
            "must be one of: array, boolean, integer, null, number, object, string"
        ),
    ),
    "no object": (
        lambda one: one["input"].update(type="array"),
        "input.type",
        "must be object",
    ),
    "unknown parameters allowed": (
        lambda one: one["input"].pop("additionalProperties"),
        "input.additionalProperties",
        "must be false: a misspelt parameter would be ignored",
    ),
    "no prompt": (
        lambda one: one["input"].update(required=["strokes"]),
        "input.required",
        "must name prompt: every job has one",
    ),
    "a default out of range": (
        parameter("strokes", default=10),
        "input.properties.strokes.default",
        "must be at most 9",
    ),
    "a hidden path": (lambda one: one.update(id="../other"), "id", ID_PATTERN),
    "a date": (
        lambda one: one.update(name=date(2026, 1, 31)),
        "name",
        "must not be a date: write it in quotation marks",
    ),
    "a name that YAML reads as true": (
        lambda one: one["input"]["properties"].update({True: {"type": "string"}}),
        "input.properties",
        "has the name True, which must be written in quotation marks",
    ),
    "a parameter without schema": (
        lambda one: one["input"]["properties"].update(prompt=True),
        "input.properties.prompt",
        "must be an object",
    ),
    "a misspelt keyword": (
        parameter("strokes", maxmum=5),
        "input.properties.strokes.maxmum",
        "is unknown; did you mean maximum?",
    ),
    "a required parameter that does not exist": (
        lambda one: one["input"].update(required=["prompt", "brush"]),
        "input.required",
        "must name parameters of the input, and brush is none",
    ),
    "a choice that YAML reads as false": (
        parameter("file", enum=["photo", False, "lossless"]),
        "input.properties.file.enum.1",
        "must be text",
    ),
    "a safety checker that is disabled for everyone": (
        lambda one: one["input"]["properties"].update(
            disable_safety_checker={"type": "boolean", "default": True}
        ),
        "input.properties.disable_safety_checker.default",
        "must be false: an operator allows true for single tenants",
    ),
    "a safety checker that a text disables": (
        lambda one: one["input"]["properties"].update(
            disable_safety_checker={"type": ["boolean", "string"]}
        ),
        "input.properties.disable_safety_checker",
        "must have the type boolean: only true is refused to tenants",
    ),
    "a seed without values": (seed(minimum=9, maximum=3), "seed", GAPS),
    "a seed below its minimum": (seed(maximum=-1), "seed", GAPS),
    "a seed of single values": (seed(enum=[3, 5]), "seed", GAPS),
    "a seed in steps": (seed(multipleOf=10), "seed", GAPS),
    "a seed with an open end": (seed(exclusiveMaximum=8), "seed", GAPS),
    "a seed that is no parameter": (
        lambda one: one.update(seed="seed"),
        "seed",
        "must name a parameter of the input, and seed is none of prompt, strokes, canvas, file",
    ),
    "a seed that is a text": (
        lambda one: one.update(seed="prompt"),
        "seed",
        "must name a parameter of the type integer, and prompt is not one",
    ),
    "half a size": (
        lambda one: one.update(size={"megapixels": "canvas"}),
        "size",
        "must have ratio, ratio and megapixels, or pixels",
    ),
    "a ratio without colon": (
        lambda one: one.update(size={"ratio": "canvas"}),
        "size.ratio",
        "must name a parameter whose `enum` has a ratio in quotation marks such as '16:9'",
    ),
    "a value without format": (
        lambda one: one["format"]["values"].pop("photo"),
        "format.values",
        "must have the format of every value, and photo is missing",
    ),
    "a format that nobody reads": (
        lambda one: one["format"]["values"].update(photo="gif"),
        "format.values.photo",
        "must be one of: webp, jpg, png",
    ),
    "a format of no list": (
        lambda one: one.update(format={"parameter": "prompt", "values": {}}),
        "format.parameter",
        "must name a parameter with an `enum`",
    ),
    "a value that the parameter cannot have": (
        lambda one: one["openai"]["quality"]["values"].update(high=90),
        "openai.quality.values.high",
        "must be at most 9",
    ),
    "a rule that is none": (
        lambda one: one["openai"].update(background="drop"),
        "openai.background",
        "must be one of: ignore, refuse",
    ),
    "another name of nothing": (
        lambda one: one["replicate"]["names"].update(width="wide"),
        "replicate.names.width",
        "must name a parameter of the input, and wide is none of prompt, strokes, canvas, file",
    ),
    "another name for what is a parameter": (
        lambda one: one["replicate"]["names"].update(prompt="strokes"),
        "replicate.names.prompt",
        "must not be the name of a parameter",
    ),
    "the name of another model": (
        lambda one: one["replicate"].update(id=DEFAULT_MODEL),
        "replicate.id",
        f"must be of this model alone, and {DEFAULT_MODEL} also names {DEFAULT_MODEL}",
    ),
    "a negative price": (lambda one: one.update(credits=-1), "credits", "must be at least 0"),
    "a price that no sum can hold": (
        lambda one: one.update(credits=1e300),
        "credits",
        "must be at most 1000000",
    ),
    "no rate": (
        lambda one: one.update(requests_per_minute=0),
        "requests_per_minute",
        "must be more than 0",
    ),
    "an unknown fallback": (
        lambda one: one.update(fallbacks=["acme/nothing"]),
        "fallbacks.0",
        "must name another model, and acme/nothing is none",
    ),
    "too many fallbacks": (
        lambda one: one.update(fallbacks=[*CATALOG][:4]),
        "fallbacks",
        "must have at most 3 entries",
    ),
    "a fallback twice": (
        lambda one: one.update(fallbacks=[DEFAULT_MODEL, DEFAULT_MODEL]),
        "fallbacks",
        "must not have duplicates",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_a_sentence_with_file_model_and_member(tmp_path: Path, mistake: str) -> None:
    change, member, words = MISTAKES[mistake]
    wrong = definition()
    change(wrong)
    file = written(tmp_path, wrong)

    name = wrong.get("id", "number 1")
    assert sentences(file) == [
        f"DARKROOM_MODELS_FILE is not usable: {file}: model {name}: `{member}` {words}."
    ]


def test_every_mistake_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    first, second = definition(), definition() | {"seed": "canvas"}
    first["credits"], first["name"] = "free", ""
    file = written(tmp_path, first, second, "nothing")

    assert [
        one.removeprefix(f"DARKROOM_MODELS_FILE is not usable: {file}: ") for one in sentences(file)
    ] == [
        f"model {OTHER}: `name` must not be empty.",
        f"model {OTHER}: `credits` must be a number.",
        f"model {OTHER}: `seed` must name a parameter of the type integer, and canvas is not one.",
        "model number 3: `it` must be an object.",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be an object with the list `models`"),
        ("hunter2-secret", "must be an object with the list `models`"),
        ("models: hunter2-secret", "must be an object with the list `models`"),
        ("models: []\nmodel: []", "`model` is unknown; did you mean models?"),
        ("models: [\nhunter2-secret", "is not YAML: "),
        ("models: [!!python/name:os.system hunter2-secret]", "is not YAML: "),
        ("models: [2026-02-31]", "is not YAML: "),
        ("\x00", "is not YAML: "),
        ("models: " + "[" * 2000 + "]" * 2000, "is nested too deeply"),
        ("models: &all [*all]", "a part of it contains itself"),
        ("models:\n- &one\n  id: a/b\n  input: *one", "a part of it contains itself"),
    ],
)
def test_a_file_that_is_no_catalog_is_named_without_its_text(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(content)

    (sentence,) = sentences(file)

    assert words in sentence
    assert str(file) in sentence
    assert "hunter2" not in sentence


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (sentence,) = sentences(tmp_path / "absent.yaml")
    assert sentence.endswith("absent.yaml cannot be read (No such file or directory).")


def test_a_name_that_stands_twice_in_one_object_is_a_mistake(tmp_path: Path) -> None:
    file = written(tmp_path, definition())
    text = file.read_text()
    load_catalog(str(file))

    file.write_text(
        f"{text}  credits: 7\n  size: {{pixels: canvas, pixels: file}}\ndefinitions: {{}}\n"
    )

    last = text.count("\n")
    assert sentences(file) == [
        f"DARKROOM_MODELS_FILE is not usable: {file}: line {line}: `{name}` appears twice in one "
        "object."
        for line, name in ((last + 1, "credits"), (last + 2, "pixels"), (last + 2, "size"))
    ]


def test_a_model_that_stands_twice_is_named(tmp_path: Path) -> None:
    (sentence,) = sentences(written(tmp_path, definition(), definition()))
    assert f"model {OTHER}: `id` appears twice in this file" in sentence


def test_a_file_adds_models_and_replaces_shipped_ones(tmp_path: Path) -> None:
    replaced = definition() | {"id": DEFAULT_MODEL}
    models = load_catalog(str(written(tmp_path, definition(), replaced)))

    assert [*models] == [*CATALOG, OTHER]
    assert models[DEFAULT_MODEL].name == "Tile Painter"


def test_a_file_is_read_again_only_when_it_changes(tmp_path: Path) -> None:
    file = written(tmp_path, definition())
    first = load_catalog(str(file))
    assert load_catalog(str(file)) is first

    written(tmp_path, definition() | {"name": "Another"})
    assert load_catalog(str(file))[OTHER].name == "Another"


def test_names_of_models_in_other_settings_are_checked_against_the_file() -> None:
    chosen = load_settings(
        models_file=str(OTHER_MODEL_FILE),
        credits_per_image=f"{DEFAULT_MODEL}=1",
        openai_models=f"tiles={OTHER}",
    )

    assert chosen.openai_aliases == {"tiles": OTHER}
    assert chosen.prices == {DEFAULT_MODEL: 1, OTHER: 2.5}
    assert load_settings(
        models_file=str(OTHER_MODEL_FILE), credits_per_image=f"{OTHER}=7"
    ).prices == {OTHER: 7}


def test_a_wrong_file_adds_no_sentence_about_the_models_that_it_has(tmp_path: Path) -> None:
    file = written(tmp_path, definition() | {"source": "guessed"})
    with pytest.raises(InvalidSettings) as raised:
        load_settings(models_file=str(file), credits_per_image=f"{OTHER}=1")
    assert len(str(raised.value).splitlines()) == 1


def test_a_shipped_model_says_where_its_parameters_are_from() -> None:
    specified = {name for name, model in CATALOG.items() if model.source == "specified"}
    assert specified == set(KLEINS)
    assert {"gemini-2.5-flash-image", "gpt-image-1-mini", "black-forest-labs/flux-2-flex"} <= {
        *CATALOG
    }


def test_the_page_of_models_lists_the_shipped_ones() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for name, model in CATALOG.items():
        listed = ", ".join(f"`{parameter}`" for parameter in model.parameters.properties)
        assert f"| `{name}` | {listed} | {model.source} |" in page


def test_the_example_of_the_page_of_models_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    file = tmp_path / "models.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0])
    assert load_catalog(str(file))["acme/painter"].credits == 40


def test_the_klein_models_share_one_definition_of_their_parameters() -> None:
    first, second = (CATALOG[name] for name in KLEINS)
    assert first.input == second.input
    assert first.seeds == range(SEED_MAX + 1)


def test_faults_of_an_input_come_once_each_and_in_the_order_of_the_schema() -> None:
    given = {"sed": 1, "seed": -1, "go_fast": 1, "output_quality": 1.5, "aspect_ratio": "4:3"}
    assert KLEIN.parameters.complete(given) == [
        (("prompt",), "is required"),
        (("aspect_ratio",), "must be one of: 1:1, 16:9, 9:16, 3:2, 2:3, 4:5, 5:4"),
        (("output_quality",), "must be a whole number"),
        (("go_fast",), "must be true or false"),
        (("seed",), "must be at least 0"),
        (("sed",), "is unknown; did you mean seed?"),
    ]


@pytest.mark.parametrize("seed", [True, "7", 7.5, float("nan"), float("inf"), 2**53, 10**400, [7]])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    found = KLEIN.parameters.complete({"prompt": "p", "seed": seed})
    assert isinstance(found, list)
    assert [path for path, _ in found] == [("seed",)]


def test_a_whole_number_may_be_written_with_a_fraction_of_0() -> None:
    found = KLEIN.parameters.complete({"prompt": "p", "seed": 7.0, "num_inference_steps": 2e0})
    assert isinstance(found, dict)
    assert [*found] == [*KLEIN.parameters.properties]
    assert (repr(found["seed"]), repr(found["num_inference_steps"])) == ("7", "2")


def test_a_parameter_may_refer_to_a_definition_of_its_input(tmp_path: Path) -> None:
    model = definition()
    model["input"]["$defs"] = {"few": {"type": "integer", "maximum": 9}}
    model["input"]["properties"]["layers"] = {"$ref": "#/$defs/few", "default": 3}
    file = written(tmp_path, model)
    found = load_catalog(str(file))[OTHER].parameters.complete({"prompt": "p", "strokes": 1})
    assert isinstance(found, dict)
    assert found["layers"] == 3

    model["input"]["properties"]["layers"]["default"] = 10
    (sentence,) = sentences(written(tmp_path, model))
    assert "`input.properties.layers.default` must be at most 9" in sentence


def test_references_to_other_documents_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"type": "string"}')
    wrong = definition()
    wrong["input"]["properties"]["prompt"] |= {"$ref": f"file://{tmp_path}/file.json"}
    (sentence,) = sentences(written(tmp_path, wrong))
    assert "`input` must be a JSON Schema" in sentence


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), [float("inf")], {"a": [1e999]}])
def test_an_infinite_number_is_refused_where_anything_else_is_accepted(value: object) -> None:
    schema = InputSchema({"type": "object", "properties": {"any": {}}})
    assert schema.complete({"any": value}) == [(("any",), "must be a finite number")]
    assert schema.complete({"any": 1.5}) == {"any": 1.5}


def test_an_error_of_one_file_carries_every_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog) as caught:
        load_catalog(str(written(tmp_path, {}, {})))
    assert len(caught.value.sentences) == 2 * len(["id", "name", "description", "source", "input"])
    assert CHOSEN_SEED_MAX < SEED_MAX
