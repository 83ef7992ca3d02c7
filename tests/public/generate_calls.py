#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the calls of test_public: one C function for each function of the public headers.

    generate_calls.py OUTPUT.c VALUES.h DEPFILE BUILD

A call takes the number of a value for each argument. Values of a type are listed in values.h
(first those that make sense, then the others); those of enums, structs and callbacks follow from
their declarations: for each field of a struct, each value of the field. A type that has no values
is an error here, so that a new function is called as soon as it is declared.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import public_headers  # noqa: E402

# What is not called, and why.
NOT_CALLED = {
    "ct_fail": "variadic: no C function can tell whether its arguments fit",
    "ct_fail_bool": "variadic: no C function can tell whether its arguments fit",
    "ct_scope_cleanup": "called by the compiler at the end of a CT_SCOPE, with its variable",
    "ct_restore_grad_mode": "called by the compiler at the end of a CT_NO_GRAD, with its variable",
    "ct_restore_over_ranks": "called by the compiler at the end of a CT_OVER_RANKS, with its variable",
}
# Pointers that may be NULL without an error: what was looked for is not there, or NULL goes through.
MAY_BE_NULL = {
    "ct_model_front_module",
    "ct_keep", "ct_adopt", "ct_escape", "ct_grad", "ct_matmul_operand", "ct_saved", "ct_node_options",
    "ct_data", "ct_record", "ct_module_child", "ct_module_child_at", "ct_module_self", "ct_module_tensor", "ct_find_op",
    "ct_op_at", "ct_profile_stop",
}
# Enumerators out of range that are no error: names say "unknown ...", questions are answered no.
ANY_ENUMERATOR = re.compile(r"ct_\w+_name|ct_can_capture|ct_dtype_is_float|ct_unary_params|ct_\w+_defaults")
# Numbers of elements behind the pointer before or after them, which C cannot check: not too many.
COUNTS = {"count", "inputs", "outputs", "bytes", "size"}
# Values of a parameter (of any function, of one, of a struct) that is more than its type says.
BY_NAME = {
    ("const char *", "path"): "path",
    ("const int *", "axes"): "order",
}
OF_FUNCTION = {
    ("ct_release", "x"): "owned",
    ("ct_adopt", "x"): "owned",
    ("ct_host_free", "data"): "allocated",
    ("ct_sample", "inputs"): "integer",  # of an array in the struct, whose size is known
}


def plain(kind):
    """A type without const and with one way of setting spaces."""
    kind = re.sub(r"\bconst\b", "", re.sub(r"\*\s*const\s*\*", "*const_*", kind))
    kind = re.sub(r"\s*\[[^\]]*\]", "*", kind)
    return re.sub(r"\s+", " ", re.sub(r"\s*\*\s*", " *", kind)).replace("* *", "**").strip()


def is_pointer(kind):
    return kind.endswith("*") and kind != "const char *"


class Values:
    """The values of each type: how to write one, of those that were asked for."""

    def __init__(self, values, paths):
        self.functions, structs = public_headers.declarations(paths)
        self.structs = {struct.name: struct.fields for struct in structs}
        text = values.read_text(encoding="utf-8")
        self.keys = {}  # of a type: the first in values.h
        for key, kind in re.findall(r"V\((\w+), (.*?), \d", text):
            if key not in BY_NAME.values():
                self.keys.setdefault(plain(kind), key)
        self.bases = set(re.findall(r"\bbase_(\w+)\(void\)", text))
        code = [public_headers.code_of(path.read_text(encoding="utf-8")) for path in paths]
        statements = [line for part in code for line in public_headers.statements(part)]
        for line in statements:
            alias = re.fullmatch(r"typedef (\w+) (\w+)", line)
            if alias and alias[1] in self.structs:
                self.structs[alias[2]] = self.structs[alias[1]]
        self.enums = {match[1] for line in statements
                      if (match := re.fullmatch(r"typedef enum.*\} (\w+)", line))}
        self.callbacks = {match[2]: (match[1].strip(), match[3]) for line in statements
                          if (match := re.fullmatch(r"typedef (.*)\(\*(\w+)\)\((.*)\)", line))}
        self.written, self.out = {}, []

    def emit(self, *lines):
        self.out += [*lines, ""]

    def enum(self, name):
        self.emit(f"enum {{ VALID_{name} = 2, ALL_{name} = 6 }};",
                  f"static {name} value_{name}(int i) {{",
                  "    static const int values[] = {0, 1, -1, 99, INT_MAX, INT_MIN};",
                  f"    return ({name})values[i];", "}")
        return name

    def callback(self, name, returns, parameters):
        result = "" if returns == "void" else f" return ({returns}){{0}}; "
        pieces = public_headers.split_outside(parameters, ",")
        named = ", ".join(
            piece if re.search(r"\w[\s*]+\w+$", piece) else f"{piece} unused_{i}"
            for i, piece in enumerate(pieces))
        self.emit("#pragma GCC diagnostic push",
                  '#pragma GCC diagnostic ignored "-Wunused-parameter"',
                  f"static {returns} stub_{name}({named}) {{{result}}}",
                  "#pragma GCC diagnostic pop",
                  f"enum {{ VALID_{name} = 1, ALL_{name} = 2 }};",
                  f"static {returns} (*value_{name}(int i))({parameters}) {{",
                  f"    return i == 0 ? stub_{name} : NULL;", "}")
        return name

    def struct(self, name):
        fields = [(field, f"{kind[:-1]}" if kind.endswith("]") else kind)
                  for kind, field in self.structs[name]]
        keys = [(field, self.key(name, i, [(kind, field) for field, kind in fields]))
                for i, (field, kind) in enumerate(fields) if "[" not in kind]
        defaults = re.sub(r"_options$", "_defaults", name)
        base = (f"base_{name}()" if name in self.bases
                else f"{defaults}()" if any(f.name == defaults for f in self.functions)
                else f"({name}){{0}}")
        self.emit(f"enum {{ VALID_{name} = 1, ALL_{name} = 1" +
                  "".join(f" + ALL_{key}" for _, key in keys) + " };",
                  f"static {name} value_{name}(int i) {{",
                  f"    {name} value = {base};",
                  "    i -= 1;", "    if (i < 0) return value;",
                  *(line for field, key in keys for line in (
                      f"    if (i < ALL_{key}) {{", f"        value.{field} = value_{key}(i);",
                      "        return value;", "    }", f"    i -= ALL_{key};")),
                  "    return value;", "}")
        return name

    def struct_pointer(self, name):
        key = f"{name}_pointer"
        of = self.key("", 0, [(name, "")])
        self.emit(f"enum {{ VALID_{key} = 1, ALL_{key} = ALL_{of} + 1 }};",
                  f"static {name} *value_{key}(int i) {{",
                  "    if (i == 1) return NULL;",
                  f"    {name} *values = calloc(3, sizeof *values);",
                  f"    values[0] = values[1] = value_{of}(i > 1 ? i - 1 : 0);",
                  "    return values;", "}")
        return key

    def make(self, kind, const):
        """The key of a type whose values follow from its declaration."""
        pointer = re.fullmatch(r"(.*)\(\s*\*\)\s*\((.*)\)", const)
        if pointer:
            return self.callback(f"callback_{len(self.written)}", pointer[1].strip(), pointer[2])
        if kind in self.enums:
            return self.enum(kind)
        if kind in self.callbacks:
            return self.callback(kind, *self.callbacks[kind])
        if kind in self.structs:
            return self.struct(kind)
        target = kind[:-1].strip()
        if not kind.endswith("*"):
            return None
        if target in self.structs:
            return self.struct_pointer(target)
        known = r"(\w*int\w*|bool|double|size_t|char( \*(const_)?)?) *\**"
        return "space" if re.fullmatch(known, target) or target in self.enums else None

    def key(self, owner, i, parameters):
        """The key under which the values of parameter i are written."""
        const, name = parameters[i]
        near = [parameters[j][0] for j in (i - 1, i + 1) if 0 <= j < len(parameters)]
        named = OF_FUNCTION.get((owner, name)) or BY_NAME.get((const, name))
        counts = {"int": "count", "int64_t": "long_count", "size_t": "bytes"}
        if name in COUNTS and const in counts and any(map(is_pointer, near)) and not named:
            return counts[const]
        kind = plain(const)
        key = named or self.written.get(const)
        if not key:
            key = "space" if const == "char *" else self.keys.get(kind)
        if not key:
            key = self.written[const] = self.make(kind, const)
        if not key:
            sys.exit(f"{owner}: no values for {const} {name} ({kind}); add some to values.h")
        return key


def call_of(values, function):
    """The C function that makes a call, and its row in the table."""
    keys = [values.key(function.name, i, function.parameters)
            for i in range(len(function.parameters))]
    arguments = ", ".join(f"value_{key}(pick[{i}])" for i, key in enumerate(keys))
    call = f"{function.name}({arguments})"
    kind = plain(function.returns)
    if kind == "ct_tensor *":
        call = f"see_tensor((ct_tensor *){call})"
    elif kind == "bool":
        call = f"see_flag({call})"
    elif kind == "char *":
        call = f"see_text({call})"
    elif kind.endswith("*"):
        call = f"see_pointer({call})"
    elif kind in values.structs:
        tensors = [field for of, field in values.structs[kind] if plain(of) == "ct_tensor *"]
        body = "".join(f"    see_output(result.{field});\n" for field in tensors)
        call = f"{kind} result = {call};\n{body}    (void)result"
    else:
        call = f"(void){call}"
    unused = "" if keys else "    (void)pick;\n"
    body = f"static void call_{function.name}(const int *pick) {{\n{unused}    {call};\n}}\n"
    rows = ", ".join(f'{{"{name}", VALID_{key}, ALL_{key}, {str(key in values.enums).lower()}}}'
                     for key, (_, name) in zip(keys, function.parameters))
    flags = [function.name in MAY_BE_NULL, bool(ANY_ENUMERATOR.fullmatch(function.name))]
    return body, (f'    {{"{function.name}", call_{function.name}, {len(keys)}, '
                  f"{', '.join(str(flag).lower() for flag in flags)}, {{{rows or '{0}'}}}}},")


def main(output, values_header, depfile, build):
    paths = public_headers.headers(build)
    values = Values(pathlib.Path(values_header), paths)
    names = {*values.structs, *(function.name for function in values.functions)}
    for name in {*NOT_CALLED, *MAY_BE_NULL, *(of for of, _ in OF_FUNCTION)} - names:
        sys.exit(f"{name}: an exception in {sys.argv[0]} for a function that is not public")
    calls = [call_of(values, function) for function in values.functions
             if function.name not in NOT_CALLED]
    lines = ["/* Written by generate_calls.py. */", '#include "tests/public/values.h"', "",
             *values.out, *(body for body, _ in calls),
             "const public_function public_functions[] = {", *(row for _, row in calls), "};",
             f"const int public_function_count = {len(calls)};", ""]
    pathlib.Path(output).write_text("\n".join(lines), encoding="utf-8")
    read = [public_headers.__file__, public_headers.plan(build), *paths]
    pathlib.Path(depfile).write_text(f"{output}: {' '.join(map(str, read))}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
