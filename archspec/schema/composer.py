"""YAML text goes in; its tree of nodes, bounded in size and depth, comes out with the problems met.

Bounds are checked while composing, before anything is built: an alias counts as many nodes as what it stands
for, so a "billion laughs" file is refused at the alias that passes the bound, in linear time.
"""

import itertools
import re
from typing import Protocol, TypeAlias

import yaml

from archspec.errors import Location, Problem, SpecError, nearest
from archspec.schema.problems import shortened, spec_error

MAXIMUM_NODES = 100_000
MAXIMUM_DEPTH = 64
EXPECTED = "a file holds one mapping, written `key: value`"

NULL, BOOL, INT, FLOAT, STR, MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "merge")
)


class Mark(Protocol):
    """A place in a YAML text, counted from 0."""

    index: int
    line: int
    column: int


ContentEvent: TypeAlias = yaml.ScalarEvent | yaml.CollectionStartEvent

# YAML 1.2.2 section 10.3.2 (the core schema), and the merge key of 1.1. Each: tag, pattern, first letters.
# YAML 1.1, PyYAML's own, reads 1e-6 as text, and no, 1:30 and 010 as a boolean, ninety and eight.
SCALARS: tuple[tuple[str, str, str], ...] = (
    (NULL, r"~|null|Null|NULL", "~nN"),
    (BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    (FLOAT, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    (MERGE, r"<<", "<"),
)


# PyYAML's words for the two commonest slips do not say what to do about them.
SYNTAX_ADVICE: dict[str, str] = {
    "found character '\\t' that cannot start any token": "lines are indented with spaces, not with tabs",
    "mapping values are not allowed here": (
        "a `: ` stands where no value can: quote the text, or mend the indentation"
    ),
}


def compose(text: str, file: str) -> tuple[yaml.Node, list[Problem]]:
    """The root node of the one document in `text`, and the problems that did not stop the reading.

    Raises SpecError on what does: syntax, a bound passed, no document or several.
    """
    character = Composer.NON_PRINTABLE.search(text)
    if character:
        found = f"U+{ord(character.group()):04X}"
        place = place_of(text, character.start(), file)
        raise SpecError([Problem("a file holds printable characters only", found, "", place)])
    composer = Composer(text, file)
    try:
        return composer.single_document(), composer.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or composer.get_mark()
        raise composer.stop(mark, _syntax_rule(error), _line_at(text, mark)) from None
    except (ValueError, OverflowError):
        # PyYAML gives escapes such as "\\UFFFFFFFF" and endless version numbers to chr() and int() unchecked.
        mark = composer.get_mark()
        rule = "an escape or a number in the file is out of range"
        raise composer.stop(mark, rule, _line_at(text, mark)) from None
    finally:
        composer.dispose()


def place_of(text: str, offset: int, file: str) -> Location:
    """The line and column of the character at `offset`."""
    return Location(file, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _syntax_rule(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "unreadable"
    advice = SYNTAX_ADVICE.get(problem)
    context = f" ({error.context})" if error.context else ""
    return f"the file must be valid YAML: {advice or problem + context}"


def _line_at(text: str, mark: Mark) -> str:
    lines = text[max(0, mark.index - mark.column) : mark.index + 60].splitlines()
    return lines[0].strip()[:60] if lines else ""


class Composer(yaml.SafeLoader):
    """PyYAML's composer with the core schema, without tags, and with bounds."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self.file = file
        self.problems: list[Problem] = []
        self.open_anchors: list[str | None] = []  # of the collections being read, outermost first
        self.node_count = 0  # nodes read so far, aliases followed
        self.extents: dict[int, tuple[int, int]] = {}  # id of a finished node -> (its node count, its depth)

    def refuse(self, mark: Mark | None, rule: str, found: str = "", choices: tuple[str, ...] = ()) -> None:
        place = Location(self.file, mark.line + 1, mark.column + 1) if mark else None
        self.problems.append(Problem(rule, found, "", place, choices))

    def stop(self, mark: Mark | None, rule: str, found: str = "") -> SpecError:
        """The error to raise where reading on makes no sense; it includes the problems found before."""
        self.refuse(mark, rule, found)
        return spec_error(self.problems)

    def single_document(self) -> yaml.Node:
        self.check_node()
        root = self.get_node()
        if root is None:
            raise self.stop(self.get_mark(), EXPECTED, "an empty file")
        if self.check_node():
            raise self.stop(self.next_event().start_mark, "a file holds one document", "a second `---`")
        return root

    def next_event(self) -> yaml.Event:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        return event

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.next_event()
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            return self.repeated(event)
        if not isinstance(event, ContentEvent):
            return super().compose_node(parent, index)
        self.check_properties(event)
        collection = isinstance(event, yaml.CollectionStartEvent)
        count_before = self.node_count
        self.count(event.start_mark, 1, int(collection))
        if collection:
            self.open_anchors.append(event.anchor)
        node = super().compose_node(parent, index)
        if collection:
            self.open_anchors.pop()
        if node is not None:
            if event.tag is not None and isinstance(node, yaml.ScalarNode):
                node.tag = STR  # the file is refused already; what is left is to read the rest of it
            self.extents[id(node)] = (self.node_count - count_before, self.depth_of(node))
        return node

    def repeated(self, event: yaml.AliasEvent) -> yaml.Node:
        """What an alias stands for."""
        name = f"*{shortened(event.anchor or '')}"
        if event.anchor in self.open_anchors:
            self.refuse(event.start_mark, f"an anchor cannot contain itself: `{name}` is inside it", name)
        elif event.anchor not in self.anchors:
            rule = f"an alias repeats an anchor written before it; there is no `&{name[1:]}`"
            self.refuse(event.start_mark, rule, name, nearest(name[1:], self.anchors))
        else:
            node = self.anchors[event.anchor]
            self.count(event.start_mark, *self.extents[id(node)])
            return node
        # An empty mapping stands in for what the alias should have been.
        nothing = yaml.MappingNode("tag:yaml.org,2002:map", [])
        nothing.start_mark = event.start_mark
        self.extents[id(nothing)] = (1, 1)
        return nothing

    def check_properties(self, event: ContentEvent) -> None:
        """Refuse tags, and anchors of a name already taken."""
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self.refuse(event.start_mark, "tags are not part of the language", shortened(tag))
        if event.anchor is not None and event.anchor in self.anchors:
            first = self.anchors.pop(event.anchor).start_mark.line + 1
            name = f"&{shortened(event.anchor)}"
            rule = f"an anchor is defined once; `{name}` is already on line {first}"
            self.refuse(event.start_mark, rule, name)

    def count(self, mark: Mark | None, nodes: int, depth: int) -> None:
        """Take account of more nodes, the deepest `depth` collections further in. Raises SpecError."""
        self.node_count += nodes
        if self.node_count > MAXIMUM_NODES:
            rule = f"a file holds at most {MAXIMUM_NODES:,} values and keys, aliases written out"
            raise self.stop(mark, rule, "more by here")
        if len(self.open_anchors) + depth > MAXIMUM_DEPTH:
            raise self.stop(mark, f"lists and mappings nest at most {MAXIMUM_DEPTH} deep", "more by here")

    def depth_of(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 0
        pairs = isinstance(node, yaml.MappingNode)
        parts = itertools.chain.from_iterable(node.value) if pairs else node.value
        return 1 + max((self.extents[id(part)][1] for part in parts), default=0)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """First letter of a scalar -> the tags it may have; the empty scalar is null."""
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {"": [(NULL, re.compile(r"\Z"))]}
    for tag, pattern, first_letters in SCALARS:
        for letter in first_letters:
            resolvers.setdefault(letter, []).append((tag, re.compile(rf"(?:{pattern})\Z")))
    return resolvers


Composer.yaml_implicit_resolvers = _resolvers()
