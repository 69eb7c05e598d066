"""Counters of benchmarks/house.py over syntax trees; house.py says what each one counts."""

import ast
import io
import math
import statistics
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "vcmaug"
TABLES = ("vcmaug.report", "vcmaug.cohort.manifest", "vcmaug.cohort.merge")
FIELDS = {"name", "method", "builder"}  # in which a part says its own name
ASKED = FIELDS | {"sampler", "arm"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Figures = dict[str, float | str]


@dataclass(frozen=True)
class Source:
    """A module: its dotted name, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Kinds:
    """Parts and settings; each name with the modules that define it."""

    classes: Mapping[str, set[str]]
    members: Mapping[str, set[str]]
    literals: Mapping[str, set[str]]
    constants: Mapping[str, set[str]]  # name of a module's constant -> its strings


def source(name: str, text: str) -> Source:
    """Return a module of a text."""
    return Source(name, text, ast.parse(text))


def sources_of(tree: Path) -> list[Source]:
    """Return the modules of a checkout."""
    paths = sorted((tree / PACKAGE).rglob("*.py"))
    dotted = [path.relative_to(tree).with_suffix("").parts for path in paths]
    names = [".".join(parts).removesuffix(".__init__") for parts in dotted]
    return [source(name, path.read_text()) for name, path in zip(names, paths, strict=True)]


def walk(sources: Iterable[Source]) -> Iterator[ast.AST]:
    """Yield every node of some modules."""
    for module in sources:
        yield from ast.walk(module.tree)


# size


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the lines of docstrings: of modules, functions, classes and attributes."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    texts = [node for node in nodes if isinstance(getattr(node.value, "value", None), str)]
    return {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def code_lines(module: Source) -> int:
    """Return how many lines hold code."""
    apart = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type not in apart | {tokenize.ENDMARKER}:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(module.tree))


def length(function: Function) -> int:
    """Return the lines of a function without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def sizes(sources: Sequence[Source]) -> Figures:
    """Return files, lines and lengths of functions."""
    lines = {module.name: len(module.text.splitlines()) for module in sources}
    longest = sorted(lines, key=lambda name: -lines[name])
    functions = [node for node in walk(sources) if isinstance(node, Function)]
    lengths = sorted(map(length, functions))
    return {
        "files": len(sources),
        "lines": sum(lines.values()),
        "code_lines": sum(map(code_lines, sources)),
        "longest_file_lines": lines[longest[0]],
        "longest_files": ", ".join(longest[:2]),
        "functions": len(lengths),
        "function_median": statistics.median(lengths or [0]),
        "function_p90": lengths[math.ceil(0.9 * len(lengths)) - 1] if lengths else 0,
        "function_max": lengths[-1] if lengths else 0,
        "longest_function": max(functions, key=length).name if functions else "",
        "functions_over_60": sum(value > 60 for value in lengths),
    }


# switches on kinds


def names_in(node: ast.AST) -> set[str]:
    """Return the last name of every name and attribute in an expression."""
    nodes = list(ast.walk(node))
    names = {part.id for part in nodes if isinstance(part, ast.Name)}
    return names | {part.attr for part in nodes if isinstance(part, ast.Attribute)}


def strings_in(node: ast.AST) -> set[str]:
    """Return the strings of an expression."""
    values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return {value for value in values if isinstance(value, str)}


def is_literal(node: ast.AST | None) -> bool:
    """Return whether an annotation is `Literal[...]`."""
    return isinstance(node, ast.Subscript) and "Literal" in names_in(node.value)


def assigned(module: Source) -> Iterator[tuple[str, ast.expr]]:
    """Yield name and value of what a module assigns at its top."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value


def kind_classes(sources: Sequence[Source]) -> list[tuple[str, ast.ClassDef]]:
    """Return the settings and the parts, each with its module."""
    listed = [
        (module.name, node)
        for module in sources
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    known, before = {"Part"}, 0
    while len(known) > before:
        before = len(known)
        known |= {node.name for _, node in listed if any(names_in(b) & known for b in node.bases)}
    return [
        (name, node)
        for name, node in listed
        if node.name in known - {"Part"}
        or node.name.removesuffix("Settings") not in ("", node.name)
    ]


def kinds_of(sources: Sequence[Source]) -> Kinds:
    """Return what the modules define."""
    found = Kinds({}, {}, {}, {})

    def note(table: Mapping[str, set[str]], name: str, module: str) -> None:
        table.setdefault(name, set()).add(module)  # type: ignore[attr-defined]

    for module, node in kind_classes(sources):
        note(found.classes, node.name, module)
        for member in node.body:
            if isinstance(member, ast.FunctionDef):
                note(found.members, member.name, module)
            elif isinstance(member, ast.AnnAssign):
                note(found.members, ast.unparse(member.target), module)
                if ast.unparse(member.target) in FIELDS and is_literal(member.annotation):
                    for text in strings_in(member.annotation):
                        note(found.literals, text, module)
    for source_ in sources:
        for name, value in assigned(source_):
            if is_literal(value):
                for text in strings_in(value):
                    note(found.literals, text, source_.name)
            elif isinstance(value, ast.Tuple | ast.BinOp) and names_in(value) & set(found.classes):
                for kind in names_in(value) & set(found.classes):  # as if it stood there itself
                    for module in found.classes[kind]:
                        note(found.classes, name, module)
            elif isinstance(value, ast.Constant | ast.Set | ast.Tuple) and strings_in(value):
                found.constants.setdefault(name, set()).update(strings_in(value))  # type: ignore[attr-defined]
    return found


def kind_branches(module: Source, kinds: Kinds) -> int:
    """Return in how many places a module asks for the kind of what another one defines."""

    def foreign(table: Mapping[str, set[str]], names: Iterable[str]) -> bool:
        return any(name in table and module.name not in table[name] for name in names)

    def asks(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
            if node.func.id in {"isinstance", "issubclass"}:
                return foreign(kinds.classes, names_in(node.args[1]))
            return node.func.id == "hasattr" and foreign(kinds.members, strings_in(node.args[1]))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(is_call_of_type(side) for side in sides):
                return foreign(kinds.classes, names_in(node))
            return any(is_asked(side) for side in sides) and foreign(
                kinds.literals, texts_of(sides)
            )
        if isinstance(node, ast.MatchClass):
            return foreign(kinds.classes, names_in(node.cls))
        if isinstance(node, ast.Match) and is_asked(node.subject):
            patterns = [case.pattern for case in node.cases]
            return any(foreign(kinds.literals, strings_in(pattern)) for pattern in patterns)
        return False

    def texts_of(sides: Iterable[ast.expr]) -> set[str]:
        plain = [side for side in sides if isinstance(side, ast.Constant | ast.Set | ast.Tuple)]
        named = [side.id for side in sides if isinstance(side, ast.Name)]
        held = [kinds.constants.get(name, set()) for name in named]
        return set().union(*map(strings_in, plain), *held)

    return sum(asks(node) for node in ast.walk(module.tree))


def is_call_of_type(node: ast.expr) -> bool:
    """Return whether an expression is `type(x)`."""
    return isinstance(node, ast.Call) and names_in(node.func) == {"type"}


def is_asked(node: ast.expr) -> bool:
    """Return whether an expression reads the name of a part: `x.name`, `arm`, `x["builder"]`."""
    if isinstance(node, ast.Subscript):
        return bool(strings_in(node.slice) & ASKED)
    return getattr(node, "attr", getattr(node, "id", "")) in ASKED


# untyped tables


def unquoted(module: Source) -> ast.Module:
    """Return a module with its quoted annotations as expressions."""

    class Unquote(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            if (
                isinstance(node.value, str)
                and "[str, Any]" in node.value
                and "\n" not in node.value
            ):
                try:
                    return ast.parse(node.value, mode="eval").body
                except SyntaxError:
                    return node
            return node

    return Unquote().visit(ast.parse(module.text))  # type: ignore[no-any-return]


def is_of_str_any(node: ast.AST, kinds: set[str]) -> bool:
    """Return whether a node is `dict[str, Any]`, or another of these kinds."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return False
    return bool(names_in(node.value) & kinds) and ast.unparse(node.slice) in (
        "str, Any",
        "(str, Any)",
    )


def of_str_any(sources: Sequence[Source], kinds: set[str]) -> int:
    """Return how often tables of anything are named, by themselves or by an alias."""
    trees = [unquoted(module) for module in sources]
    known = [list(assigned(Source("", "", tree))) for tree in trees]
    aliases = {name for names in known for name, value in names if is_of_str_any(value, kinds)}
    count = 0
    for tree in trees:
        nodes = list(ast.walk(tree))
        count += sum(is_of_str_any(node, kinds) for node in nodes)
        loads = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
        count += sum(node.id in aliases for node in loads)
    return count


def string_subscripts(module: Source) -> int:
    """Return how often a module looks up a key that is written out."""
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, ast.Subscript)]
    keys = [getattr(node.slice, "value", None) for node in nodes if not is_literal(node)]
    return sum(isinstance(key, str) for key in keys)


def asserts_not_none(module: Source) -> int:
    """Return how many asserts say that something is not None."""
    tests = [node.test for node in ast.walk(module.tree) if isinstance(node, ast.Assert)]
    return sum("is not None" in ast.unparse(test) for test in tests)


def counted(sources: Sequence[Source]) -> Figures:
    """Return all that is counted in the source."""
    kinds, figures = kinds_of(sources), sizes(sources)
    apart = [module for module in sources if module.name.startswith(TABLES)]
    of_tables = sum(map(string_subscripts, apart))
    subscripts = sum(map(string_subscripts, sources))
    return figures | {
        "assert_is_not_none": sum(map(asserts_not_none, sources)),
        "kind_branches": sum(kind_branches(module, kinds) for module in sources),
        "dict_str_any": of_str_any(sources, {"dict"}),
        "mapping_str_any": of_str_any(sources, {"Mapping", "MutableMapping"}),
        "string_subscripts": subscripts,
        "string_subscripts_of_tables": of_tables,
        "string_subscripts_per_1000_lines": round(
            1000 * (subscripts - of_tables) / max(1, float(figures["lines"])), 2
        ),
        "what_it_is": sum("What it is:" in module.text for module in sources),
        "sources_none": sum("Sources: none" in module.text for module in sources),
    }
