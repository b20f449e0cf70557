"""HTML from templates: everything is escaped and free of control characters."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from datetime import UTC
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pgflow_yaml.errors import NotFound, PgflowError
from pgflow_yaml.text import clean, compact, duration, fit, moment, utc
from pgflow_yaml.web.failures import sentence
from pgflow_yaml.web.words import MARKS, Mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from pgflow_yaml.web.asked import Asked
    from pgflow_yaml.web.table import Page

LONGEST_VALUE = 65_536
"""Characters of a value that a page shows; the download has all of it."""
_LONGEST_TEXT = 4_000
_LONGEST_LINE = 300
_TICKING = re.compile(r'(?<=<time data-since=")([^"]*)">[^<]*')
"""A duration that the browser counts: it is no news."""
_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
"""Of the request: the filters of templates, and macros, do not see it otherwise."""


def _final(value: object) -> object:
    """Return what a template may show of a value: no control characters (S-18), no `None`."""
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def value_text(value: object) -> str:
    """Format a JSON value, and cut it."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def is_cut(value: object) -> bool:
    """Return true if a page does not show all of a value."""
    return len(json.dumps(value, ensure_ascii=False, indent=2)) > LONGEST_VALUE


def short(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Cut a text that somebody else wrote."""
    return fit(text, longest)


def compacted(value: object) -> str:
    """Format a JSON value on one line, and cut it."""
    return fit(compact(value), _LONGEST_LINE)


def zone_named(name: str) -> tzinfo | None:
    """Return a zone of the IANA database; None for a name that it lacks."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def show_times_in(name: str) -> None:
    """Let this request's times be those of a zone; UTC for a name that is no zone."""
    _zone.set(zone_named(name) or UTC)


def zone_name() -> str:
    """Return the name of the zone in which times are shown."""
    return str(_zone.get())


def time_of(stamp: str | None) -> Markup:
    """Return a moment as people read it, with the exact one behind it."""
    if not stamp:
        return Markup()
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment(stamp).isoformat(), utc(stamp), time_words(stamp)
    )


def time_words(stamp: str) -> str:
    """Return a moment as people read it, for a sentence."""
    return f"{moment(stamp).astimezone(_zone.get()):%Y-%m-%d %H:%M:%S} {zone_name()}"


def time_of_day(stamp: str) -> str:
    """Return the time of a line, in milliseconds; the page names the zone once."""
    return moment(stamp).astimezone(_zone.get()).strftime("%H:%M:%S.%f")[:12]


def lasted(seconds: float | None, *, since: str | None = None) -> Markup:
    """Return a duration; with `since`, the browser goes on counting it."""
    if seconds is None:
        return Markup()
    if since is None:
        return Markup("<span>{}</span>").format(duration(seconds))
    return Markup('<time data-since="{}">{}</time>').format(
        moment(since).isoformat(), duration(seconds)
    )


def mark(name: str) -> Mark:
    """Return symbol, word and class of a status or a condition."""
    return MARKS.get(name) or Mark("", name, "skipped")


environment = Environment(
    loader=PackageLoader("pgflow_yaml.web", "templates"),
    autoescape=True,
    finalize=_final,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
environment.filters.update(
    clock=time_of,
    compact=compacted,
    json=value_text,
    lasted=lasted,
    mark=mark,
    short=short,
    cut=is_cut,
    day=time_of_day,
)
environment.globals["zone_name"] = zone_name
environment.globals["form_id"] = lambda: token_hex(8)


def page_html(asked: Asked, template: str, context: Mapping[str, Any], **more: Any) -> str:
    """Return a page for a user."""
    return environment.get_template(template).render(**_base(asked), **context, **more)


def whole_page(asked: Asked, page: Page) -> str:
    """Return a page with its parts; one that cannot be read says so in its own place."""

    def part(name: str) -> Markup:
        return part_html(asked, page, name)[0]

    context = asked.once(page.read)
    return page_html(asked, f"{page.name}.html", context, part=part)


def part_html(asked: Asked, page: Page, name: str) -> tuple[Markup, int, str]:
    """Return a part in its element, with the status and the tag of an answer of this part alone."""
    part, status, watch = page.parts[name], 200, ""
    try:
        context = asked.once(part.read)
        watch = part.watch(asked)
        inner = environment.get_template(f"{page.name}/{name}.html").render(
            **_base(asked), **context
        )
    except NotFound:
        raise
    except PgflowError as error:
        status = 503
        inner = environment.get_template("unread.html").render(name=name, why=sentence(error))
    address = asked.url(page.part_path(name).format(**asked.params))
    query = f"?{asked.query}" if asked.query else ""
    element = Markup(
        '<section class="part" id="{}" data-part="{}" data-live="{}" data-etag="{}">{}</section>'
    )
    tag = sha256(_TICKING.sub(r"\1", inner).encode()).hexdigest()[:20]
    html = element.format(name, address + query, watch, tag, Markup(inner))  # noqa: S704 (rendered)
    return html, status, tag


def _base(asked: Asked) -> dict[str, Any]:
    return {
        "asked": asked,
        "url": asked.url,
        "user": asked.user,
        "acts": asked.acts,
        "root": asked.root,
        "theme": asked.theme,
    }
