"""Write the source of the Python SDK: `python sdk/python/generate.py FOLDER`.

openapi-python-client reads the document and writes the models. `templates/` has the form of
operations and clients; `oneself_client/` has the code that does not depend on the document.
"""

import copy
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader
from openapi_python_client import Project
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError
from openapi_python_client.parser.openapi import Endpoint
from openapi_python_client.parser.properties import ModelProperty, Property
from openapi_python_client.parser.responses import Response
from openapi_python_client.schema.untrusted_string import UntrustedString
from openapi_python_client.strings import safe_for_docstring

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from facts import DOCUMENT, Facts, Operation, document_of_clients, read_facts  # noqa: E402 # importable from the line above on
from readme import quick_start  # noqa: E402 # as above

_OK = range(200, 300)


def generate(folder: Path) -> None:
    """Write the source of the package into a folder, which is emptied first.

    Raises:
        SystemExit: The generator cannot handle a part of the document.
    """
    shutil.rmtree(folder, ignore_errors=True)
    document = document_of_clients(yaml.safe_load(DOCUMENT.read_text()))
    config = _configure(document, folder)
    data = GeneratorData.from_dict(_strip_tags(document), config=config)
    if isinstance(data, GeneratorError):
        _fail([data])
    project = Project(openapi=data, config=config, custom_template_path=HERE / "templates")
    _unprefix_headers(data, config)
    facts = read_facts(document)
    project.env.filters["prose"] = _as_prose
    project.env.filters["declared"] = partial(_declared, facts)
    _declare_fields_ourselves(project.env)
    project.env.globals.update(
        facts=facts,
        quick_start=quick_start("Python"),
        operation_of=partial(_operation_of, facts),
        described=partial(_described, facts),
        tag_descriptions={tag["name"]: tag["description"] for tag in document["tags"]},
        is_success=_is_success,
        is_open=_is_open,
    )
    errors = project.build()
    if errors:
        _fail(errors)
    # Last, to replace the `types.py` of the generator.
    shutil.copytree(HERE / "oneself_client", project.package_dir, dirs_exist_ok=True)


def _configure(document: dict[str, Any], folder: Path) -> Config:
    files = {
        content_type: "application/octet-stream"
        for content_type in _content_types(document)
        if content_type.startswith("image/") or content_type == "application/yaml"
    }
    settings = ConfigFile(
        content_type_overrides=files,
        docstrings_on_attributes=True,
        literal_enums=True,
        package_name_override="oneself_client",
        project_name_override="oneself-client",
        post_hooks=[f"{sys.executable} -m ruff {act} ." for act in ("check --fix-only", "format")],
    )
    return Config.from_sources(
        settings,
        MetaType.UV,
        document_source=DOCUMENT,
        file_encoding="utf-8",
        overwrite=True,
        output_path=folder,
    )


def _content_types(node: Any) -> set[str]:
    """Return all media types below a `content` key."""
    if isinstance(node, list):
        return set[str]().union(*(_content_types(child) for child in node))
    if not isinstance(node, dict):
        return set()
    types = set(node.get("content", ())) if isinstance(node.get("content"), dict) else set()
    return types.union(*(_content_types(child) for child in node.values()))


def _strip_tags(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with operation ids without their tag, as in `changePassword`."""
    named = copy.deepcopy(document)
    for item in named["paths"].values():
        for operation in item.values():
            if "operationId" in operation:
                operation["operationId"] = operation["operationId"].partition(".")[2]
    return named


def _operation_of(facts: Facts, endpoint: Endpoint) -> Operation:
    target = (endpoint.method.upper(), endpoint.path.get_untrusted_value())
    (operation,) = (item for item in facts.operations if (item.method, item.path) == target)
    return operation


def _described(facts: Facts, endpoint: Endpoint, prop: Property) -> str:
    """Return the description of an argument; the generator only has those of body fields."""
    name = prop.name.get_untrusted_value()
    fallback = prop.description.get_untrusted_value() if prop.description is not None else name
    return _operation_of(facts, endpoint).parameters.get(name, fallback)


def _unprefix_headers(data: GeneratorData, config: Config) -> None:
    """Name header arguments without `X-`: `tenant_id` for `X-Tenant-ID`."""
    for collection in data.endpoint_collections_by_tag.values():
        for endpoint in collection.endpoints:
            for header in endpoint.header_parameters:
                name = header.name.get_untrusted_value()
                if name.lower().startswith("x-"):
                    header.set_python_name(UntrustedString(name[2:]), config)


#: The names in the generator's template of a model to replace, with those to replace them with.
_MODEL_TEMPLATE = "model.py.jinja"
_REPLACED = {
    "property.to_string() | as_unembedded_code": "property | declared(class_name)",
    "from ..types import UNSET, Unset": "from ..types import UNSET, Unset, hidden",
}


def _declare_fields_ourselves(env: Environment) -> None:
    """Make the template of models declare each field with our filter `declared`.

    Raises:
        SystemExit: The template of this version of the generator is another one.
    """
    source, _, _ = PackageLoader("openapi_python_client").get_source(env, _MODEL_TEMPLATE)
    for old, new in _REPLACED.items():
        if old not in source:
            raise SystemExit(f"{_MODEL_TEMPLATE} of the generator no longer has {old!r}")
        source = source.replace(old, new)
    own = DictLoader({_MODEL_TEMPLATE: source})
    env.loader = ChoiceLoader([own, *([env.loader] if env.loader else [])])


def _declared(facts: Facts, prop: Property, model: str) -> str:
    """Return the declaration of a field; that of a secret hides it from the `repr`."""
    declaration = str(prop.to_string().as_unembedded_code())
    if (model, prop.name.get_untrusted_value()) not in facts.secrets:
        return declaration
    annotated, equals, default = declaration.partition(" = ")
    default = f"default={default}, " if equals else ""
    return f"{annotated} = _attrs_field({default}repr=hidden)"


def _as_prose(text: object) -> str:
    """Join a text into one line, which the templates wrap to their own width."""
    return " ".join(safe_for_docstring(text).split())


def _is_success(response: Response) -> bool:
    bounds = response.status_code.range
    return bounds is not None and bounds[0] in _OK


def _is_open(prop: object) -> bool:
    """Return whether it is an object without fixed fields, which is a dictionary in Python."""
    named = isinstance(prop, ModelProperty) and (
        prop.required_properties or prop.optional_properties
    )
    return isinstance(prop, ModelProperty) and not named


def _fail(errors: Sequence[GeneratorError]) -> NoReturn:
    for error in errors:
        sys.stderr.write(f"{error.header}\n{error.detail or ''}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve())
