"""Pages and documents made from Jinja templates, all by the same rules."""

from __future__ import annotations

from typing import Any

from rlhf_envs.terminal import counted


def render(package: str, template: str, **content: Any) -> str:
    """The text of a template that lies beside the modules of a package.

    A name that is missing in the content is an error. HTML is escaped in templates whose name ends in .html, and only
    there. The filter `counted` gives a number with its noun: `3 | counted("answer")`.

    Args:
        package: such as "rlhf_envs.report".
        template: the name of the file.
        content: what the template shows, by name.

    Raises:
        jinja2.TemplateError: if the template is wrong or names something that is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    return environment.get_template(template).render(content)
