#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which headers are public, and what they declare, as meson installs them.

    scripts/public_headers.py [BUILD]                paths from the repository's root, a line each
    scripts/public_headers.py --functions [BUILD]    prototypes, a line each

BUILD is a configured build folder ("build"). Nothing has to be compiled. Other scripts import
headers() and declarations().
"""
import json
import pathlib
import re
import sys
from typing import NamedTuple

import printing

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Function(NamedTuple):
    returns: str  # "ct_tensor *"
    name: str
    parameters: list  # of (type, name): ("const int64_t *", "stride")
    variadic: bool
    header: pathlib.Path
    inline: bool = False


class Struct(NamedTuple):
    name: str  # of the type
    fields: list  # of (type, name), as parameters; arrays as "ct_tensor *[4]"


def plan(build=ROOT / "build"):
    """The file in which meson says what it installs."""
    return pathlib.Path(build) / "meson-info/intro-install_plan.json"


def headers(build=ROOT / "build"):
    """The installed .h files of this tree, in the order of the layers."""
    installed = json.loads(plan(build).read_text(encoding="utf-8"))["headers"]
    return [pathlib.Path(path) for path in installed if path.endswith(".h")]


def code_of(text):
    """C without comments, directives, attributes, CT_BEGIN_DECLS, `extern "C"` and the bodies of
    functions."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", " ", text, flags=re.M)
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", " ", text)
    text = re.sub(r'\bCT_(?:BEGIN|END)_DECLS\b|extern\s+"C"\s*\{', " ", text)
    return re.sub(r"\)\s*\{(?:[^{}]|\{[^{}]*\})*\}", ");", text)


def statements(code):
    """What ends in a semicolon outside all braces, spaces folded."""
    depth, begin = 0, 0
    for at, character in enumerate(code):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:  # the end of `extern "C"`
            depth, begin = 0, at + 1
        elif character == ";" and depth == 0:
            yield " ".join(code[begin:at].split())
            begin = at + 1


def split_outside(text, separator):
    """Pieces between separators that stand outside all parentheses."""
    pieces, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == separator and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece.strip() for piece in pieces if piece.strip()]


def declarator(text):
    """(type, name) of `const int *x`, `double rates[3]`, `void (*release)(void *)`, `int`."""
    pointer = re.fullmatch(r"(.*)\(\s*\*\s*(\w*)\s*\)\s*(\(.*\))", text)
    if pointer:
        return f"{pointer[1].strip()} (*){pointer[3]}", pointer[2]
    array = re.fullmatch(r"(.*?)(\w+)\s*\[([^\]]*)\]", text)
    if array:
        return f"{array[1].strip()} [{array[3]}]", array[2]
    plain = re.fullmatch(r"(.*[\s*])(\w+)", text)
    return (plain[1].strip(), plain[2]) if plain else (text, "")


def fields_of(body):
    """Fields of a struct; `double low, high` is two."""
    for field in statements(body):
        first, *others = split_outside(field, ",")
        kind, name = declarator(first)
        yield kind, name
        base = re.sub(r"(\s*\*)*$", "", re.sub(r"\s*\[.*", "", kind))
        for other in others:
            yield declarator(f"{base} {other}")


def function_of(statement, header):
    """The function that a statement declares, or None."""
    match = re.fullmatch(r"([\w\s*]+?[\s*])(ct_\w+)\s*\((.*)\)", statement)
    if not match or statement.startswith("typedef"):
        return None
    returns = re.sub(r"^(?:static|inline|\s)+", "", match[1]).strip()
    inline = re.match(r"static\s+inline\b", match[1]) is not None
    pieces = [] if match[3].strip() == "void" else split_outside(match[3], ",")
    parameters = [declarator(piece) for piece in pieces if piece != "..."]
    return Function(returns, match[2], parameters, "..." in pieces, header, inline)


def struct_of(statement):
    """The struct that a statement defines, or None."""
    match = re.fullmatch(r"typedef struct(?: \w+)? \{(.*)\} (\w+)", statement)
    if not match:
        match = re.fullmatch(r"struct \w+ \{(.*)\}", statement)
        match = match and [match[0], match[1], statement.split()[1]]
    return Struct(match[2], list(fields_of(match[1]))) if match else None


def declarations(paths):
    """(functions, structs) of header files, in their order."""
    functions, structs = [], []
    for path in paths:
        for statement in statements(code_of(pathlib.Path(path).read_text(encoding="utf-8"))):
            function, struct = function_of(statement, path), struct_of(statement)
            functions += [function] if function else []
            structs += [struct] if struct else []
    return functions, structs


def prototype(function):
    """As C, but for parameters that point to functions, whose names stand behind their types."""
    parameters = [f"{kind} {name}".strip() for kind, name in function.parameters]
    parameters += ["..."] if function.variadic else []
    return f"{function.returns} {function.name}({', '.join(parameters) or 'void'});"


def main(arguments):
    options = [argument for argument in arguments if argument.startswith("-")]
    folders = [argument for argument in arguments if not argument.startswith("-")]
    if options not in ([], ["--functions"]) or len(folders) > 1:
        sys.exit(__doc__)
    try:
        paths = headers(*folders)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not there; `meson setup build` makes it")
    if options:
        print(*map(prototype, declarations(paths)[0]), sep="\n")
    else:
        print(*(path.relative_to(ROOT) for path in paths), sep="\n")


if __name__ == "__main__":
    printing.is_the_result()
    main(sys.argv[1:])
