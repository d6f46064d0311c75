"""Which changes are made: those of cosmic-ray that people make, and some that it lacks.

Not made are changes that no test could call wrong (`_is_inert`): types and what only readers or type
checkers read; guards such as ``strict=``; the markers ``/`` and ``*`` of a signature; tables of numbers from
the literature; the memory of a pure function (``@cache``), which changes its speed alone; the size of a
number so small that only its being above zero matters; and how long something is waited for or how much
memory it may take (constants and defaults that end in ``_S`` or ``_BYTES``), where half and twice are as
right. What is done when the time or the memory is used up is behaviour, and is changed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast, is_number
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Keyword, Name, Number

#: Of cosmic-ray's 170, one or two for each operator of the language: `x >> y` for `x + y` on floats dies of a
#: TypeError and would only flatter the rate.
CHOSEN = (
    *(f"ReplaceBinaryOperator_{change}" for change in (
        "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "Mod_FloorDiv", "Pow_Mul",
        "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr", "LShift_RShift", "RShift_LShift",
    )),
    *(f"ReplaceComparisonOperator_{change}" for change in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_Gt", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_Lt", "GtE_Gt", "GtE_Lt",
        "Is_IsNot", "IsNot_Is",
    )),
    "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "RemoveDecorator",
    "ZeroIterationForLoop",
)  # fmt: skip

#: Arguments that are no behaviour: they hold off bugs that the type checker and other tests see.
GUARDS = frozenset({"strict", "slots", "repr", "frozen", "eq", "kw_only"})

#: Functions whose arguments may be swapped.
SYMMETRIC = frozenset(
    {"min", "max", "minimum", "maximum", "hypot", "isclose", "multiply", "add", "gcd", "convolve", "suppress"}
)

#: Names whose subscripts are types.
TYPES = frozenset(
    {"Callable", "Literal", "Generator", "Iterator", "Mapping", "Annotated", "tuple", "dict", "Union"}
)

#: Parso's names of what is separated by commas.
LISTS = ("arglist", "testlist_comp", "testlist_star_expr", "testlist", "subscriptlist", "exprlist")

#: Decorators that only readers and type checkers read, and those that remember what a pure function returned.
FOR_READERS = ("overload", "override", "final", "runtime_checkable")
MEMORIES = ("cache", "lru_cache")

#: Names of how long something is waited for, and of how much memory it may take.
AMOUNTS = ("_s", "_bytes")

#: A positive number below it stands against zero.
TINY = 1e-20


class ChangeNumber(Operator):  # type: ignore[misc, unused-ignore]
    """Change a small integer by one, and every other number by a factor of two: both ways."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the number's place, twice."""
        if is_number(node) and not node.value.endswith(("j", "J")):
            for _ in range(2):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put another number in its place."""
        value = ast.literal_eval(node.value)
        if isinstance(value, int) and value <= 10:
            other: float = value + (1, -1)[index]
        elif value == 0:
            other = (1.0, -1.0)[index]
        else:
            other = value * 2 if index == 0 else value / 2 if isinstance(value, float) else value // 2
        return Number(f"{other}" if other >= 0 else f"({other})", node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: the tests have them."""
        return ()


class CatchNothing(Operator):  # type: ignore[misc, unused-ignore]
    """Let a handler catch nothing."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the place of the exceptions' names."""
        if node.type == "except_clause":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put an empty tuple in their place."""
        node.children[1] = Name("()", node.children[1].start_pos, prefix=" ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: the tests have them."""
        return ()


class SwapNeighbours(Operator):  # type: ignore[misc, unused-ignore]
    """Swap two neighbours: arguments, values of two keywords, elements of a tuple or list."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the place of every pair."""
        for first, second in _pairs(node):
            yield first.start_pos, second.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Swap one pair."""
        first, second = list(_pairs(node))[index]
        if first.type == "argument":
            first.children[2], second.children[2] = second.children[2], first.children[2]
        else:
            i, j = node.children.index(first), node.children.index(second)
            node.children[i], node.children[j] = second, first
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: the tests have them."""
        return ()


class DropStatement(Operator):  # type: ignore[misc, unused-ignore]
    """Leave out a call, a raise, an augmented assignment, or an assignment to an attribute or element."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield the statement's place."""
        if node.type == "simple_stmt" and _is_droppable(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put `pass` in its place."""
        old = node.children[0]
        node.children[0] = Keyword("pass", old.start_pos, prefix=old.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none: the tests have them."""
        return ()


def operators() -> dict[str, Operator]:
    """Return every operator by name."""
    provider = OperatorProvider()
    return {
        **{name: provider[name]() for name in CHOSEN},
        "CatchNothing": CatchNothing(),
        "ChangeNumber": ChangeNumber(),
        "SwapNeighbours": SwapNeighbours(),
        "DropStatement": DropStatement(),
    }


def mutations(source: str) -> Iterator[tuple[str, int]]:
    """Yield the operator's name and the occurrence of every change of a module that could matter."""
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in operators().items():
        occurrence = 0
        for node in nodes:
            for _ in operator.mutation_positions(node):
                if not _is_inert(node, name):
                    yield name, occurrence
                occurrence += 1


def mutate(source: str, name: str, occurrence: int) -> str:
    """Return a module's source with one change."""
    mutated = mutate_code(source, operators()[name], occurrence)
    assert mutated is not None
    return str(mutated)


def _is_inert(node: Any, operator: str) -> bool:
    """Is this a type, a guard, or a word for readers, which cannot change what is computed?"""
    if operator == "RemoveDecorator":
        return _decorator_of(node) in FOR_READERS + MEMORIES
    if node.type == "if_stmt" and node.children[1].get_code().strip() == "TYPE_CHECKING":
        return True
    if node.parent is not None and node.parent.type == "parameters":
        return True
    if is_number(node) and (0 < abs(ast.literal_eval(node.value)) < TINY or _is_amount(node)):
        return True
    while node.parent is not None:
        if _is_type(node) or _is_guard(node) or _is_table(node) or _is_memory(node):
            return True
        node = node.parent
    return False


def _is_type(node: Any) -> bool:
    parent = node.parent
    siblings = parent.children
    match parent.type:
        case "annassign":
            return siblings[1] is node
        case "tfpdef":
            return siblings[0] is not node
        case "funcdef":
            return getattr(siblings[siblings.index(node) - 1], "value", "") == "->"
        case "atom_expr":
            is_subscript = node.type == "trailer" and node.children[0].value == "["
            return is_subscript and siblings[0].get_code().strip() in TYPES
    return False


def _is_guard(node: Any) -> bool:
    return node.parent.type == "argument" and node.parent.children[0].get_code().strip() in GUARDS


def _is_memory(node: Any) -> bool:
    return node.type == "decorator" and _decorator_of(node) in MEMORIES


def _decorator_of(node: Any) -> str:
    return str(node.get_code()).strip().removeprefix("@").partition("(")[0].strip()


def _is_amount(number: Any) -> bool:
    """Is this (a factor of) a constant or a default that says how long, or how much memory?"""
    node = number
    while node.parent.type in ("term", "annassign"):
        node = node.parent
    holder = node.parent
    if holder.type == "param":
        return str(holder.name.value).endswith(AMOUNTS)
    if holder.type != "expr_stmt" or holder.children[0].type != "name":
        return False
    name = str(holder.children[0].value).lower()
    return name.endswith(AMOUNTS) and name != "header_bytes"  # which is the wire's


def _is_table(node: Any) -> bool:
    """Is this a module's list of names, or a table of numbers from the literature, which is data?"""
    if node.type != "expr_stmt" or node.parent.parent.type != "file_input":
        return False
    return node.children[0].get_code().strip() == "__all__" or sum(map(is_number, ast_nodes(node))) > 8


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    if node.type not in (
        "arglist",
        "testlist_comp",
        "testlist_star_expr",
        "testlist",
        "subscriptlist",
        "exprlist",
    ):
        return
    parent = node.parent
    if node.type == "arglist":
        callee = parent.parent.children[parent.parent.children.index(parent) - 1] if parent.parent else None
        if parent.type == "classdef" or (callee and callee.get_last_leaf().value in SYMMETRIC):
            return
    if node.type == "testlist_comp" and _is_set_like(parent):
        return
    parts = node.children[::2]
    separators = node.children[1::2]
    if any(getattr(separator, "value", "") != "," for separator in separators):
        return  # a comprehension
    for first, second in pairwise(parts):
        if first.get_code().strip() == second.get_code().strip():
            continue
        if first is parts[0] and _is_clip(node):
            continue
        kinds = {first.type, second.type} & {"argument", "star_expr"}
        if not kinds:
            yield first, second
        elif first.type == second.type == "argument" and _is_keyword(first) and _is_keyword(second):
            if {first.children[0].value, second.children[0].value} & GUARDS:
                continue
            if first.children[2].get_code().strip() != second.children[2].get_code().strip():
                yield first, second


def _is_clip(arguments: Any) -> bool:
    """Are these the arguments of `clip`, whose first two are symmetric: the larger of both is taken?"""
    trailer = arguments.parent
    if arguments.type != "arglist" or trailer.type != "trailer":
        return False
    before = trailer.parent.children[trailer.parent.children.index(trailer) - 1]
    return bool(before.get_last_leaf().value == "clip" and trailer.parent.get_first_leaf().value == "np")


def _is_keyword(argument: Any) -> bool:
    return getattr(argument.children[1], "value", "") == "="


def _is_set_like(atom: Any) -> bool:
    """Is this a tuple whose order says nothing: after `in`, of an `except`, `isinstance`, keys of a dict?"""
    outer = atom.parent
    if outer is None:
        return False
    if outer.type == "except_clause":
        return True
    if outer.type == "comparison":
        return any(getattr(c, "value", "") == "in" or c.type == "comp_op" for c in outer.children)
    if outer.type == "arglist" and outer.parent.type == "trailer":
        outer = outer.parent
    if outer.type == "trailer":
        code = str(outer.parent.get_code()).strip()
        return code.startswith(("isinstance(", "issubclass(", "frozenset(", "dict.fromkeys("))
    return False


def _is_droppable(statement: Any) -> bool:
    if statement.type == "raise_stmt":
        return True
    if statement.type == "atom_expr":
        last = statement.children[-1]
        called = last.type == "trailer" and last.children[0].value == "("
        return called and not statement.get_code().strip().startswith(("logger.", "log."))
    if statement.type == "expr_stmt":
        target, sign = statement.children[:2]
        if getattr(sign, "value", "") == "=":
            return bool(target.type == "atom_expr")
        return bool(sign.type == "operator" and sign.value.endswith("="))
    return False
