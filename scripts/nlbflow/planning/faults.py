"""Faults of a YAML file against a closed JSON schema, each in a sentence that a person can act on."""

from collections.abc import Iterable
from difflib import get_close_matches

import jsonschema

from nlbflow.models.catalogue import read_as_text

# JSON takes 5.0 for a whole number, but a file name does not
VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, x: type(x) is int),
)


def near(word: str, known: Iterable) -> str:
    """A hint at the known name that is most like a word; empty if none is."""
    found = get_close_matches(str(word), [str(k) for k in known], 1)
    return f" (did you mean {found[0]}?)" if found else ""


def first_fault(schema: dict, content: dict, file: str, described: str) -> str:
    """A sentence on the first fault, with its key, what is allowed and what was found; empty if there is none.

    Args:
        schema: the JSON schema.
        content: what the file holds.
        file: what the content is called: `config`, or the file's name.
        described: the file with the schema.
    """
    faults = sorted(VALIDATOR(schema).iter_errors(content), key=lambda e: list(map(str, e.path)))
    return _sentence(faults[0], file, described) if faults else ""


def _sentence(fault: jsonschema.ValidationError, file: str, described: str) -> str:
    key = ".".join(str(part) for part in fault.absolute_path)
    about = fault.schema.get("description", "")
    if "propertyNames" in fault.absolute_schema_path:
        return f"{file} key {key} has the name {fault.instance!r}; expected {about}."
    if fault.validator == "pattern":
        return f"{file} key {key} is {fault.instance!r}; expected {about}."
    if fault.validator == "additionalProperties":
        known = fault.schema.get("properties", {})
        unknown = [name for name in fault.instance if name not in known]
        place = f"under {key}" if key else "at the top level"
        return (
            f"the {file} has an unknown key {unknown[0]!r} {place}{near(unknown[0], known)}; "
            f"allowed are {', '.join(sorted(known))}."
        )
    if fault.validator == "required":
        missing = [name for name in fault.validator_value if name not in fault.instance]
        lacked = ".".join(filter(None, [key, missing[0]]))
        return f"the {file} lacks the key {lacked}; add it: {described} describes it."
    if fault.validator in ("oneOf", "anyOf", "not"):
        keys = isinstance(fault.instance, dict)
        found = f"has the keys {', '.join(sorted(fault.instance))}" if keys else f"is {fault.instance!r}"
        return f"{file} key {key} {found}, which fits none of the allowed forms: {about or described}."
    text = read_as_text(fault.instance) if fault.validator == "type" else ""
    return f"{file} key {key} is {fault.instance!r}: {fault.message}" + (f" ({about})." if about else ".") + text
