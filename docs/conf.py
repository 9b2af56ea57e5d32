"""Sphinx configuration of this documentation (``make docs``). Nothing is downloaded, and formulas need no script."""

import pkgutil
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path

import numpy.typing as npt
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

# Show these aliases by name, and not as the unions of ten protocols. This must run before anything imports them.
for alias in ("ArrayLike", "DTypeLike"):
    setattr(npt, alias, type(alias, (), {"__module__": "numpy.typing"}))

project = "eqprop-analog"
author = "the eqprop-analog authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = version_of("eqprop-analog")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # an annotation "range" is also the name of two attributes

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch", "triton"]
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100

toc_object_entries = False  # a table of contents with two thousand names is useless, and takes most of the build time

html_theme = "furo"
html_title = "eqprop-analog"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"


class CommandLine(SphinxDirective):
    """``{command-line}``: the help of every command of the console program."""

    def run(self) -> list[nodes.Node]:
        """Return one section for each command."""
        parser = import_module("eqprop_analog.cli").parser()
        commands = next(action.choices for action in parser._actions if action.dest == "command")  # noqa: SLF001
        return [_help("eqprop-analog", parser), *(_help(name, command) for name, command in commands.items())]


class Package(SphinxDirective):
    """``{package} eqprop_analog.devices``: every module of a package, without its subpackages."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one section for each module."""
        package = import_module(self.arguments[0])
        return [
            _section(name, *self._automodule(f"{package.__name__}.{name}"))
            for name in sorted(
                (found.name for found in pkgutil.iter_modules(package.__path__) if not found.ispkg), key=_order
            )
        ]

    def _automodule(self, name: str) -> list[nodes.Node]:
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n.. automodule:: {name}\n```\n")


class MovedNames(SphinxDirective):
    """``{moved-names}``: where each module of 0.1.0 is now."""

    def run(self) -> list[nodes.Node]:
        """Return a table of old and new names."""
        moved = import_module("eqprop_analog.moved")
        homes = {old: {new} for old, new in moved.MOVED.items()}
        homes |= {old: set(names.values()) for old, names in moved.PACKAGES.items()}
        rows = "".join(
            f"| `{old}` | {', '.join(f'`{new}`' for new in sorted(homes[old]))} |\n" for old in sorted(homes)
        )
        return self.parse_text_to_nodes(f"| `eqprop_analog.` | is now `eqprop_analog.` |\n| --- | --- |\n{rows}")


def _order(name: str) -> tuple[int, str]:
    """Sort key: the modules that a reader looks for first, then the others by name."""
    first = ("network", "equations", "law", "circuit", "contrast", "trainer")
    return first.index(name) if name in first else len(first), name


def _help(name: str, parser: ArgumentParser) -> nodes.section:
    parser.formatter_class = lambda prog: RawDescriptionHelpFormatter(prog, width=100)
    return _section(name, nodes.literal_block(text=parser.format_help(), language="text"))


def _section(name: str, *children: nodes.Node) -> nodes.section:
    return nodes.section("", nodes.title(name, name), *children, ids=[nodes.make_id(name)], names=[name])


def plain_bars(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Escape bars in docstrings: they denote absolute values, not substitutions of reStructuredText."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda found: found[1] or r"\|", line) for line in lines]


def visit_math(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, inline or as a block."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logger.warning("formula %s: %s", node.astext(), error, location=node)
        formula = ""
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def write_api_pages(_app: Sphinx) -> None:
    """Write one page for each package, so that none is forgotten."""
    folder = Path(__file__).parent / "api" / "packages"
    folder.mkdir(exist_ok=True)
    found = pkgutil.walk_packages(import_module("eqprop_analog").__path__, "eqprop_analog.")
    names = ["eqprop_analog", *(name for _, name, is_package in found if is_package)]
    pages = {folder / f"{name}.md": f"# {name}\n\n```{{package}} {name}\n```\n" for name in names}
    for path in {*folder.glob("*.md")} - {*pages}:
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> None:
    """Use MathML, which browsers display themselves, instead of MathJax from a server, and add the directives above."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.add_directive("command-line", CommandLine)
    app.add_directive("moved-names", MovedNames)
    app.add_directive("package", Package)
    app.connect("autodoc-process-docstring", plain_bars)
    app.connect("builder-inited", write_api_pages)
