"""The source of a class from which parts were cut goes in; the same as one would have written it comes out."""

import ast
import re

WIDTH = 88


def tidy(source: str) -> str:
    """Names that only repeat others are gone, what fits into a line is in one, nothing is made that is not used."""
    source = _docstrings(source)
    source = source.replace(" // 1\n", "\n").replace(" // 1,", ",").replace(", bias=True", "")
    source = _without_copies(source)
    source = _in_one_line(source)
    source = re.sub(r"\n( *)(\w+) = ([^\n]{1,70}[^\n(\[{,])\n\1return \2(?=\n|$)", r"\n\1return \3", source)
    source = _without_unread_nones(_without_empty_constructor(source))
    return re.sub(r"\n{3,}", "\n\n", source)


def _without_empty_constructor(source: str) -> str:
    """Without one that only hands on what it is given."""
    head = r"\n\n    def __init__\(self(?:, (\*\w+): nn\.Module)?\) -> None:\n"
    alone = head + r"        super\(\).__init__\((\*\w+)?\)(?=\n\n    def |$)"
    found = re.search(alone, source)
    return source.replace(found.group(), "") if found and found.group(1) == found.group(2) else source


def _without_unread_nones(source: str) -> str:
    """Without `a: Tensor | None = None` where nothing reads a."""
    gone = []
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for node in function.body:
            none = isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and node.value.value is None
            if isinstance(node, ast.AnnAssign) and none and ast.unparse(node.target) not in read:
                gone.append(node.lineno)
    return "\n".join(line for number, line in enumerate(source.split("\n"), 1) if number not in gone)


def _docstrings(source: str) -> str:
    """Without empty lines at their end, in one line where they have one."""
    source = re.sub(r'(\n *)+\n( *""")(?=\n)', r"\n\2", source)
    return re.sub(r'("""[^"\n]+)\n *"""', r'\1"""', source)


def _without_copies(source: str) -> str:
    """Without `a = b` where neither is given another value: a is written as b."""
    while True:
        found = next((copy for copy in _copies(source)), None)
        if found is None:
            return source
        source = _renamed(source, *found)


def _copies(source: str) -> list[tuple[int, int, int, str, str]]:
    """First and last line of a function, the line of the copy in it, and both names."""
    found = []
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        stores = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        given = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        for node in ast.walk(function):
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target, value = node.targets[0] if isinstance(node, ast.Assign) else node.target, node.value
            own = isinstance(value, ast.Attribute) and ast.unparse(value).startswith("self.")
            if not isinstance(target, ast.Name) or not (own or isinstance(value, ast.Name)):
                continue
            by = ast.unparse(node.value) if node.value else ""
            if stores.count(target.id) == 1 and (own or (stores + given).count(by) == 1) and target.id not in given:
                last = function.end_lineno or node.lineno
                found.append((function.lineno, last, node.lineno, target.id, by))
    return found


def _renamed(source: str, first: int, last: int, gone: int, name: str, by: str) -> str:
    lines = source.splitlines()
    for number in range(first - 1, last):
        lines[number] = re.sub(rf"(?<![\w.\"]){name}(?!\w|=[^=]| = )", by, lines[number])
    del lines[gone - 1]
    return "\n".join(lines)


def _in_one_line(source: str) -> str:
    """Brackets with one argument a line and a comma after the last, in one line where that fits."""
    pattern = re.compile(r"^( *)([^\n]*[(\[])\n((?: +[^\n]*[^\n(\[{],\n)+)\1([)\]][^\n]*)$", re.MULTILINE)

    def one_line(found: re.Match[str]) -> str:
        indent, head, inner, tail = found.groups()
        arguments = " ".join(line.strip() for line in inner.splitlines())
        whole = f"{indent}{head}{arguments.removesuffix(',')}{tail}"
        return whole if len(whole) <= WIDTH and "#" not in inner else found.group()

    return pattern.sub(one_line, source)
